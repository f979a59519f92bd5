/*
 * What all the examples in C serve, so that each shows its host's lines alone.
 *
 * "/" is the live page, "/echo" a WebSocket echo, "/ticks" how often the host's own timer has
 * ticked, "/feed" the state of a WebSocket client that connects again by itself, and "/detach" has
 * the guest leave.
 */
#ifndef GUEST_H
#define GUEST_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lodger.h>

#ifdef __cplusplus
#define GUEST_NOEXCEPT noexcept
#else
#define GUEST_NOEXCEPT
#endif

/* A server and a client, and what the host tells them. */
struct guest {
    lodger_runtime *rt;
    void (*leave)(void *host); /* takes the guest out of the loop; called inside a callback of it */
    void *host;
    unsigned long ticks;   /* of the host's own timer */
    unsigned long left_at; /* the tick at which the guest has left, 0 before */
    unsigned long messages;
    int connected;
};

static inline void guest_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, lodger_last_error());
    exit(1);
}

static inline void guest_text(lodger_response *response, const char *text)
{
    lodger_respond(response, "text/plain; charset=utf-8", text, strlen(text));
}

static inline void guest_ticks(lodger_runtime *rt, const lodger_request *request,
                               lodger_response *response, void *user) GUEST_NOEXCEPT
{
    char text[32];

    (void)rt, (void)request;
    snprintf(text, sizeof(text), "%lu", ((struct guest *)user)->ticks);
    guest_text(response, text);
}

static inline void guest_feed(lodger_runtime *rt, const lodger_request *request,
                              lodger_response *response, void *user) GUEST_NOEXCEPT
{
    struct guest *guest = (struct guest *)user;
    char text[48];

    (void)rt, (void)request;
    snprintf(text, sizeof(text), "%lu %s", guest->messages,
             guest->connected ? "connected" : "waiting");
    guest_text(response, text);
}

static inline void guest_detach(lodger_runtime *rt, const lodger_request *request,
                                lodger_response *response, void *user) GUEST_NOEXCEPT
{
    struct guest *guest = (struct guest *)user;

    (void)rt, (void)request;
    guest_text(response, "bye");
    guest->left_at = guest->ticks + 1;
    guest->leave(guest->host);
}

static inline void guest_echo(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data,
                              size_t len, void *state) GUEST_NOEXCEPT
{
    (void)state;
    if (lodger_ws_send(rt, conn, kind, data, len) < 0)
        lodger_ws_close(rt, conn, 1011, NULL);
}

static inline void guest_feed_open(lodger_runtime *rt, uint64_t conn, void *state) GUEST_NOEXCEPT
{
    (void)rt, (void)conn;
    ((struct guest *)state)->connected = 1;
}

static inline void guest_feed_message(lodger_runtime *rt, uint64_t conn, int32_t kind,
                                      const uint8_t *data, size_t len, void *state) GUEST_NOEXCEPT
{
    (void)rt, (void)conn, (void)kind, (void)data, (void)len;
    ((struct guest *)state)->messages++;
}

static inline void guest_feed_closed(lodger_runtime *rt, uint64_t conn, int32_t reason,
                                     uint16_t code, void *state) GUEST_NOEXCEPT
{
    (void)rt, (void)conn, (void)reason, (void)code;
    ((struct guest *)state)->connected = 0;
}

/* Connects to LODGER_FEED, if it is set, and again by policy when it is gone. */
static inline void guest_subscribe(struct guest *guest)
{
    static const uint32_t delays[] = { 100, 200, 400, 800 };
    lodger_ws_client_options options;
    lodger_ws_handler feed;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.url = getenv("LODGER_FEED");
    options.attempts = -1;
    options.delays_ms = delays;
    options.delays_len = sizeof(delays) / sizeof(*delays);
    options.jitter_percent = 10;
    memset(&feed, 0, sizeof(feed));
    feed.size = sizeof(feed);
    feed.open = guest_feed_open;
    feed.message = guest_feed_message;
    feed.closed = guest_feed_closed;
    if (options.url && lodger_ws_connect(guest->rt, &options, &feed, guest, NULL) < 0)
        guest_die(options.url);
}

static inline lodger_server *guest_routes(struct guest *guest)
{
    lodger_server *server = lodger_server_new();
    lodger_ws_handler echo;

    memset(&echo, 0, sizeof(echo));
    echo.size = sizeof(echo);
    echo.message = guest_echo;
    lodger_server_ws(server, "/echo", &echo, NULL, NULL);
    lodger_server_route(server, "GET", "/ticks", guest_ticks, guest);
    lodger_server_route(server, "GET", "/feed", guest_feed, guest);
    lodger_server_route(server, "GET", "/detach", guest_detach, guest);
    lodger_server_live(server, "/_lodger", "/");
    return server;
}

/* Has it be served over TLS, if LODGER_CERTIFICATE and LODGER_KEY name PEM files. 1: it will be. */
static inline int guest_tls(lodger_server *server)
{
    lodger_tls_options options;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.certificate_file = getenv("LODGER_CERTIFICATE");
    options.key_file = getenv("LODGER_KEY");
    if (!options.certificate_file)
        return 0;
    if (lodger_server_tls(server, &options) < 0)
        guest_die("TLS");
    return 1;
}

/* Says where it listens. */
static inline void guest_announce(struct guest *guest, uint64_t listener, const char *scheme)
{
    char address[64];

    if (lodger_local_addr(guest->rt, listener, address, sizeof(address)) < 0)
        guest_die("the address");
    printf("listening on %s://%s\n", scheme, address);
    fflush(stdout);
}

/* Makes the guest, which does not listen yet. `name` is the host's, for the live page. */
static inline void guest_prepare(struct guest *guest, const char *name, void (*leave)(void *host),
                                 void *host)
{
    memset(guest, 0, sizeof(*guest));
    guest->leave = leave;
    guest->host = host;
    if (lodger_new(NULL, &guest->rt) < 0)
        guest_die("a runtime");
    lodger_host(guest->rt, name);
}

/*
 * Listens on LODGER_LISTEN (a free port of 127.0.0.1), or on a socket that listens already if it is
 * not -1, says where, and connects to LODGER_FEED. Nothing happens before it is in a loop.
 */
static inline void guest_listen(struct guest *guest, int fd)
{
    const char *address = getenv("LODGER_LISTEN");
    lodger_server *server = guest_routes(guest);
    uint64_t listener = 0;
    const char *scheme = guest_tls(server) ? "https" : "http";
    int error = fd >= 0 ? lodger_listen_fd(guest->rt, fd, server, &listener)
                        : lodger_listen(guest->rt, address ? address : "127.0.0.1:0", server,
                                        &listener);

    if (error < 0)
        guest_die("listening");
    guest_subscribe(guest);
    guest_announce(guest, listener, scheme);
}

/* Both. */
static inline void guest_start(struct guest *guest, const char *name, void (*leave)(void *host),
                               void *host)
{
    guest_prepare(guest, name, leave, host);
    guest_listen(guest, -1);
}

/* Counts a tick of the host's own timer. 1: the guest has left 100 ticks ago; end. */
static inline int guest_tick(struct guest *guest)
{
    DIR *tasks;
    int threads = 0;

    guest->ticks++;
    if (!guest->left_at || guest->ticks < guest->left_at + 100)
        return 0;
    tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks)) != NULL;)
        threads += task->d_name[0] != '.';
    if (tasks)
        closedir(tasks);
    printf("100 more ticks, %d threads\n", threads);
    fflush(stdout);
    return 1;
}

#endif
