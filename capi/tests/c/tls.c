/* https and wss, both ends in one process: whom one trusts, what a request tells, why it is refused. */
#include "rules.h"

static int done, reason, status, clients;
static char why[256], body[512];
static char cert[4096], key[4096];
static size_t cert_len, key_len;

static void load(const char *path, char *into, size_t *len)
{
    FILE *file = fopen(path, "r");

    CHECK(file != NULL);
    *len = fread(into, 1, 4096, file);
    CHECK(*len > 0 && *len < 4096);
    fclose(file);
}

/* Says what the handshake agreed on, and how long the client's certificate is. */
static void show(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                 void *user)
{
    size_t len[4], der_len;
    const char *told[4];
    const uint8_t *der = lodger_request_certificate(request, 0, &der_len);
    char text[512];

    (void)rt, (void)user;
    for (int i = 0; i < 4; i++)
        told[i] = lodger_request_tls(request, i, &len[i]);
    CHECK(lodger_request_tls(request, 4, NULL) == NULL);
    CHECK(lodger_request_tls(NULL, 0, NULL) == NULL);
    CHECK(lodger_request_certificate(request, 1, NULL) == NULL);
    CHECK((der == NULL) == (der_len == 0) && (der == NULL || der[0] == 0x30));
    clients += der != NULL;
    snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%.*s", (int)len[0], told[0], (int)len[1], told[1],
             (int)len[2], told[2], (int)len[3], told[3]);
    answer_text(response, text);
}

static void fetched(lodger_runtime *rt, int32_t how, uint16_t code, const uint8_t *data, size_t len,
                    void *user)
{
    (void)rt, (void)user;
    reason = how;
    status = code;
    snprintf(why, sizeof(why), "%s", how == LODGER_REASON_DONE ? "" : lodger_last_error());
    snprintf(body, sizeof(body), "%.*s", (int)len, (const char *)data);
    done = 1;
}

static void fetch(lodger_runtime *rt, const char *scheme, const char *host, const char *port)
{
    char url[64];

    snprintf(url, sizeof(url), "%s://%s:%s/", scheme, host, port);
    done = 0;
    CHECK(lodger_fetch(rt, "GET", url, NULL, 0, 1000, fetched, NULL) == LODGER_OK);
    serve_until(rt, &done);
}

static void echo(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data, size_t len,
                 void *state)
{
    (void)state;
    CHECK(lodger_ws_send(rt, conn, kind, data, len) == LODGER_OK);
}

static void opened(lodger_runtime *rt, uint64_t conn, void *state)
{
    (void)state;
    CHECK(lodger_ws_send(rt, conn, LODGER_TEXT, "sealed", 6) == LODGER_OK);
}

static void heard(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data, size_t len,
                  void *state)
{
    (void)state;
    CHECK(kind == LODGER_TEXT && len == 6 && memcmp(data, "sealed", 6) == 0);
    CHECK(lodger_ws_close(rt, conn, 1000, NULL) == LODGER_OK);
}

static void gone(lodger_runtime *rt, uint64_t conn, int32_t how, uint16_t code, void *state)
{
    (void)rt, (void)conn, (void)code, (void)state;
    reason = how;
    snprintf(why, sizeof(why), "%s", lodger_last_error());
    done = 1;
}

static void socket_to(lodger_runtime *rt, const char *host, const char *port)
{
    lodger_ws_client_options options = { .size = sizeof(options) };
    lodger_ws_handler handler = { .size = sizeof(handler), .open = opened, .message = heard,
                                  .closed = gone };
    char url[64];

    snprintf(url, sizeof(url), "wss://%s:%s/echo", host, port);
    options.url = url;
    done = 0;
    CHECK(lodger_ws_connect(rt, &options, &handler, NULL, NULL) == LODGER_OK);
    serve_until(rt, &done);
}

static lodger_server *routes(void)
{
    lodger_ws_handler handler = { .size = sizeof(handler), .message = echo };
    lodger_server *server = lodger_server_new();

    CHECK(lodger_server_route(server, "GET", "/", show, NULL) == LODGER_OK);
    CHECK(lodger_server_ws(server, "/echo", &handler, NULL, NULL) == LODGER_OK);
    return server;
}

static lodger_tls_options in_memory(void)
{
    lodger_tls_options options = { .size = sizeof(options) };

    options.certificate = cert;
    options.certificate_len = cert_len;
    options.key = key;
    options.key_len = key_len;
    return options;
}

/* What is no configuration is refused, and the server stays as it was. */
static void misuse(lodger_runtime *rt, lodger_server *server, const char *cert_file)
{
    lodger_tls_options options = { .size = sizeof(options) };

    CHECK(lodger_server_tls(NULL, &options) == LODGER_E_NULL);
    CHECK(lodger_server_tls(server, NULL) == LODGER_E_NULL);
    CHECK(lodger_server_tls(server, &options) == LODGER_E_MISUSE);
    options.certificate_file = cert_file;
    CHECK(lodger_server_tls(server, &options) == LODGER_E_NULL);
    options.key_file = cert_file;
    CHECK(lodger_server_tls(server, &options) == LODGER_E_MISUSE);
    CHECK(strstr(lodger_last_error(), "private key") != NULL);
    options.key_file = "/nonexistent/key";
    CHECK(lodger_server_tls(server, &options) == LODGER_E_SYSTEM);
    CHECK(strstr(lodger_last_error(), "/nonexistent/key") != NULL);
    options = in_memory();
    options.flags = LODGER_TLS_REQUIRE;
    CHECK(lodger_server_tls(server, &options) == LODGER_E_MISUSE);
    options.flags = LODGER_TLS_INSECURE;
    CHECK(lodger_server_tls(server, &options) == LODGER_E_MISUSE);
    options.flags = 0;
    options.certificate_file = cert_file;
    CHECK(lodger_server_tls(server, &options) == LODGER_E_MISUSE);
    options.size = 1;
    CHECK(lodger_trust(rt, &options) == LODGER_E_SIZE);
    options = in_memory();
    options.roots = "no PEM";
    options.roots_len = 6;
    CHECK(lodger_trust(rt, &options) == LODGER_E_MISUSE);
}

int main(int argc, char **argv)
{
    static const char *const protocols[] = { "http/1.1" };
    lodger_tls_options options = { .size = sizeof(options) };
    lodger_server *server = routes();
    lodger_runtime *rt = NULL;
    char url[64];
    const char *port;

    CHECK(argc == 3);
    load(argv[1], cert, &cert_len);
    load(argv[2], key, &key_len);
    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    misuse(rt, server, argv[1]);

    /* Files; clients are asked for a certificate, and need none. */
    options.certificate_file = argv[1];
    options.key_file = argv[2];
    options.roots_file = argv[1];
    options.alpn = protocols;
    options.alpn_len = 1;
    CHECK(lodger_server_tls(server, &options) == LODGER_OK);
    CHECK(lodger_listen(rt, "nowhere", server, NULL) < 0);
    listen_url(rt, server, "https", url, sizeof(url));
    port = strrchr(url, ':') + 1;

    /* Trusted, as PEM in memory. */
    options = (lodger_tls_options){ .size = sizeof(options), .roots = cert, .roots_len = cert_len };
    CHECK(lodger_trust(rt, &options) == LODGER_OK);
    fetch(rt, "https", "localhost", port);
    CHECK(reason == LODGER_REASON_DONE && status == 200);
    CHECK(strncmp(body, "TLSv1.3|TLS13_", 14) == 0);
    CHECK(strstr(body, "|http/1.1|localhost") != NULL);
    socket_to(rt, "localhost", port);
    CHECK(reason == LODGER_REASON_CLOSED && clients == 0);

    /* The certificate is for another name, and plain HTTP is none. */
    fetch(rt, "https", "127.0.0.1", port);
    CHECK(reason == LODGER_REASON_PEER && strstr(why, "for another name") != NULL);
    socket_to(rt, "127.0.0.1", port);
    CHECK(reason == LODGER_REASON_PEER && strstr(why, "for another name") != NULL);
    fetch(rt, "http", "127.0.0.1", port);
    CHECK(reason == LODGER_REASON_DONE && status == 400);

    /* Anybody is trusted, because it was said. */
    options = (lodger_tls_options){ .size = sizeof(options), .flags = LODGER_TLS_INSECURE };
    CHECK(lodger_trust(rt, &options) == LODGER_OK);
    fetch(rt, "https", "127.0.0.1", port);
    CHECK(reason == LODGER_REASON_DONE && status == 200);

    /* A server that requires a certificate, and plain HTTP that is redirected. */
    server = routes();
    options = in_memory();
    options.roots = cert;
    options.roots_len = cert_len;
    options.flags = LODGER_TLS_REQUIRE | LODGER_TLS_REDIRECT;
    CHECK(lodger_server_tls(server, &options) == LODGER_OK);
    listen_url(rt, server, "https", url, sizeof(url));
    port = strrchr(url, ':') + 1;
    fetch(rt, "https", "localhost", port);
    CHECK(reason == LODGER_REASON_PEER && strstr(why, "certificate_required") != NULL);
    options.flags = 0;
    CHECK(lodger_trust(rt, &options) == LODGER_OK);
    fetch(rt, "https", "localhost", port);
    CHECK(reason == LODGER_REASON_DONE && status == 200 && clients == 1);
    fetch(rt, "http", "localhost", port);
    CHECK(reason == LODGER_REASON_DONE && status == 200 && clients == 2);

    CHECK(lodger_trust(rt, NULL) == LODGER_OK);
    CHECK(lodger_free(rt) == LODGER_OK);
    return 0;
}
