/* WebSockets from both ends: accept and refuse, send, full, want_write, close, connecting again. */
#include "rules.h"

static int done, states, freed, refused_with, retries, opened;
static uint64_t server_conn;

static uint16_t accept_it(const lodger_request *request, void *user, void **state)
{
    size_t len;
    const char *query = lodger_request_query(request, &len);

    CHECK(user == &states && *state == user);
    if (query && len == 2 && memcmp(query, "no", 2) == 0)
        return 403;
    *state = malloc(16);
    states++;
    return 0;
}

static void free_state(void *state)
{
    free(state);
    freed++;
}

static void server_open(lodger_runtime *rt, uint64_t conn, void *state)
{
    (void)rt, (void)state;
    server_conn = conn;
    opened++;
}

static void echo(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data, size_t len,
                 void *state)
{
    (void)state;
    CHECK(lodger_ws_send(rt, conn, kind, data, len) == LODGER_OK);
}

/* The client: sends a text and bytes, hears them again, then floods until it is full. */
struct client {
    int heard, writable, closed, reason, code;
    unsigned long sent, back;
};

static char block[32768];

static void flood(lodger_runtime *rt, uint64_t conn, struct client *client)
{
    int32_t code;

    while ((code = lodger_ws_send(rt, conn, LODGER_BINARY, block, sizeof(block))) == LODGER_OK)
        client->sent++;
    CHECK(code == LODGER_E_FULL);
    CHECK(lodger_want_write(rt, conn) == LODGER_OK);
}

static void client_open(lodger_runtime *rt, uint64_t conn, void *state)
{
    (void)state;
    CHECK(lodger_ws_send(rt, conn, LODGER_TEXT, "caf\xc3\xa9", 5) == LODGER_OK);
    CHECK(lodger_ws_send(rt, conn, LODGER_TEXT, "caf\xe9", 4) == LODGER_E_TEXT);
    CHECK(lodger_ws_send(rt, conn, 7, "x", 1) == LODGER_E_MISUSE);
    CHECK(lodger_ws_send(rt, conn, LODGER_BINARY, NULL, 1) == LODGER_E_NULL);
    CHECK(lodger_ws_send(rt, conn, LODGER_BINARY, NULL, 0) == LODGER_OK);
}

static void client_message(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data,
                           size_t len, void *state)
{
    struct client *client = state;

    switch (client->heard++) {
    case 0:
        CHECK(kind == LODGER_TEXT && len == 5 && memcmp(data, "caf\xc3\xa9", 5) == 0);
        break;
    case 1:
        CHECK(kind == LODGER_BINARY && len == 0);
        flood(rt, conn, client);
        break;
    default:
        CHECK(len == sizeof(block));
        /* Each that was taken comes back, and no other. */
        if (++client->back == client->sent && client->writable)
            CHECK(lodger_ws_close(rt, conn, 4000, "enough") == LODGER_OK);
    }
}

static void client_writable(lodger_runtime *rt, uint64_t conn, size_t room, void *state)
{
    (void)rt, (void)conn;
    CHECK(room > 0);
    ((struct client *)state)->writable++;
}

static void client_closed(lodger_runtime *rt, uint64_t conn, int32_t reason, uint16_t code,
                          void *state)
{
    struct client *client = state;

    CHECK(lodger_ws_send(rt, conn, LODGER_TEXT, "x", 1) == LODGER_E_GONE);
    client->closed++;
    client->reason = reason;
    client->code = code;
    done = 1;
}

static void told(lodger_runtime *rt, uint64_t delay_us, int32_t reason, void *user)
{
    (void)rt, (void)user;
    CHECK(delay_us >= 1000 && delay_us < 100000);
    CHECK(reason == LODGER_REASON_IO || reason == LODGER_REASON_ABORTED ||
          reason == LODGER_REASON_EOF || reason == LODGER_REASON_DONE);
    retries++;
}

static void refused(lodger_runtime *rt, uint64_t conn, int32_t reason, uint16_t code, void *state)
{
    (void)rt, (void)conn, (void)state;
    CHECK(reason == LODGER_REASON_REFUSED);
    refused_with = code;
    done = 1;
}

/* Comes back after the server has dropped it. */
static void again_open(lodger_runtime *rt, uint64_t conn, void *state)
{
    (void)conn;
    if (++*(int *)state < 3)
        CHECK(lodger_abort(rt, server_conn) == LODGER_OK);
    else
        done = 1;
}

int main(void)
{
    static const uint32_t delays[] = { 1, 2 };
    lodger_ws_handler server_side = { sizeof(server_side), accept_it, server_open, echo,
                                      NULL, NULL, free_state };
    lodger_ws_handler client_side = { sizeof(client_side), NULL, client_open, client_message,
                                      client_writable, client_closed, NULL };
    lodger_ws_handler refused_side = { sizeof(refused_side), NULL, NULL, NULL, NULL, refused, NULL };
    lodger_ws_handler again_side = { sizeof(again_side), NULL, again_open, NULL, NULL, NULL, NULL };
    lodger_ws_options rules = { sizeof(rules), 1 << 20, 1000, 3000, "a, b", 0 };
    lodger_field field = { "X-Field", "yes" };
    lodger_ws_client_options options = { sizeof(options), NULL, &rules, &field, 1, 0,
                                         delays, 2, -1, 0, told };
    struct client client = { 0, 0, 0, 0, 0, 0, 0 };
    lodger_ws_client *handle = NULL;
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    int times = 0;
    char base[64], url[96];

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_server_ws(server, "/echo", &server_side, &rules, &states) == LODGER_OK);
    listen_url(rt, server, "ws", base, sizeof(base));
    snprintf(url, sizeof(url), "%s/echo", base);
    options.url = url;

    CHECK(lodger_ws_connect(rt, &options, &client_side, &client, &handle) == LODGER_OK);
    CHECK(lodger_ws_client_conn(handle) != 0);
    CHECK(lodger_ws_client_send(handle, LODGER_TEXT, "early", 5) == LODGER_E_MISUSE);
    serve_until(rt, &done);
    CHECK(client.closed == 1 && client.reason == LODGER_REASON_CLOSED && client.code == 4000);
    CHECK(client.writable == 1 && client.sent > 1 && client.back == client.sent);
    CHECK(lodger_ws_client_send(handle, LODGER_TEXT, "late", 4) == LODGER_E_GONE);
    CHECK(lodger_ws_client_conn(handle) == 0);
    CHECK(lodger_ws_client_free(handle) == LODGER_OK);

    snprintf(url, sizeof(url), "%s/echo?no", base);
    done = 0;
    CHECK(lodger_ws_connect(rt, &options, &refused_side, NULL, NULL) == LODGER_OK);
    serve_until(rt, &done);
    CHECK(refused_with == 403 && retries == 0);

    snprintf(url, sizeof(url), "%s/echo", base);
    options.attempts = -1;
    done = 0;
    CHECK(lodger_ws_connect(rt, &options, &again_side, &times, &handle) == LODGER_OK);
    serve_until(rt, &done);
    CHECK(times == 3 && retries == 2 && opened == 4);
    CHECK(lodger_ws_client_close(handle, 1000) == LODGER_OK);
    CHECK(lodger_ws_client_free(handle) == LODGER_OK);

    CHECK(lodger_free(rt) == LODGER_OK);
    CHECK(states == 4 && freed == 4);
    return 0;
}
