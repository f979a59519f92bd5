/* SIGPIPE as it is by default, and a peer that resets in the middle of a send. */
#include "rules.h"

static int done, reason;
static char block[65536];

static void more(lodger_runtime *rt, uint64_t conn, size_t room, void *state)
{
    (void)room, (void)state;
    while (lodger_ws_send(rt, conn, LODGER_BINARY, block, sizeof(block)) == LODGER_OK) {
    }
    lodger_want_write(rt, conn);
}

static void opened(lodger_runtime *rt, uint64_t conn, void *state)
{
    more(rt, conn, 0, state);
}

static void closed(lodger_runtime *rt, uint64_t conn, int32_t why, uint16_t code, void *state)
{
    (void)rt, (void)conn, (void)code, (void)state;
    reason = why;
    done = 1;
}

/* Reads some of the flood, then resets: SO_LINGER of 0 drops what waits. */
static void *peer(void *url)
{
    static const char request[] = "GET /flood HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    struct linger now = { 1, 0 };
    char buffer[4096];
    size_t got = 0;
    int fd = plain_socket(url);

    CHECK(write(fd, request, sizeof(request) - 1) == (ssize_t)(sizeof(request) - 1));
    while (got < 1000000) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        CHECK(n > 0);
        got += (size_t)n;
    }
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
    CHECK(close(fd) == 0);
    return NULL;
}

int main(void)
{
    lodger_ws_handler flood = { sizeof(flood), NULL, opened, NULL, more, closed, NULL };
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    pthread_t thread;
    char url[64];
    int i;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_server_ws(server, "/flood", &flood, NULL, NULL) == LODGER_OK);
    listen_url(rt, server, "http", url, sizeof(url));
    for (i = 0; i < 20; i++) {
        done = 0;
        CHECK(pthread_create(&thread, NULL, peer, url) == 0);
        serve_until(rt, &done);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(reason == LODGER_REASON_IO || reason == LODGER_REASON_EOF);
    }
    CHECK(lodger_free(rt) == LODGER_OK);
    return 0;
}
