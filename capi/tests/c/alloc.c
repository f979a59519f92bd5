/* No memory is allocated for a message: an echo of C's, counted. */
#include "rules.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
static unsigned long allocations;

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}

static void echo(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data, size_t len,
                 void *state)
{
    (void)state;
    CHECK(lodger_ws_send(rt, conn, kind, data, len) == LODGER_OK);
}

/* Serves until the socket has something to read. */
static void serve_for(lodger_runtime *rt, int peer)
{
    struct pollfd both[2] = { { lodger_fd(rt), POLLIN, 0 }, { peer, POLLIN, 0 } };

    for (;;) {
        CHECK(poll(both, 2, 60000) > 0);
        if (both[1].revents)
            return;
        CHECK(lodger_dispatch(rt) >= 0);
    }
}

static void one_echo(lodger_runtime *rt, int peer)
{
    /* Masked with zeroes; what comes back is not masked. */
    static const unsigned char sent[] = { 0x82, 0x84, 0, 0, 0, 0, 'e', 'c', 'h', 'o' };
    unsigned char got[64];

    CHECK(write(peer, sent, sizeof(sent)) == sizeof(sent));
    serve_for(rt, peer);
    CHECK(read(peer, got, sizeof(got)) == 6 && memcmp(got, "\x82\x04" "echo", 6) == 0);
}

int main(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    lodger_ws_handler handler = { sizeof(handler), NULL, NULL, echo, NULL, NULL, NULL };
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    unsigned long before;
    char text[1024];
    int peer, i;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_server_ws(server, "/", &handler, NULL, NULL) == LODGER_OK);
    listen_url(rt, server, "http", text, sizeof(text));
    before = allocations;
    peer = plain_socket(text);
    CHECK(write(peer, request, sizeof(request) - 1) == (ssize_t)(sizeof(request) - 1));
    serve_for(rt, peer);
    CHECK(read(peer, text, sizeof(text)) > 0);
    /* It counts: a connection is an allocation or more. */
    CHECK(allocations > before);
    for (i = 0; i < 100; i++)
        one_echo(rt, peer);
    before = allocations;
    for (i = 0; i < 1000; i++)
        one_echo(rt, peer);
    CHECK(allocations == before);
    close(peer);
    CHECK(lodger_free(rt) == LODGER_OK);
    return 0;
}
