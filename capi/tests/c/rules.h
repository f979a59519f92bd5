/* What the C tests share. */
#ifndef RULES_H
#define RULES_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <lodger.h>

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,                   \
                    lodger_last_error());                                                         \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* Dispatches as a host with poll() does, until `*done` is not 0. A hang ends the test. */
static inline void serve_until(lodger_runtime *rt, const int *done)
{
    struct pollfd p = { lodger_fd(rt), POLLIN, 0 };

    while (!*done) {
        int ready = poll(&p, 1, lodger_pending(rt) == 1 ? 0 : 60000);
        CHECK(ready >= 0);
        CHECK(ready > 0 || lodger_pending(rt) == 1);
        CHECK(lodger_dispatch(rt) >= 0);
    }
}

static inline void answer_text(lodger_response *response, const char *text)
{
    CHECK(lodger_respond(response, "text/plain", text, strlen(text)) == LODGER_OK);
}

/* Listens, and writes "http://ADDRESS:PORT" or "ws://..." into `url`. */
static inline uint64_t listen_url(lodger_runtime *rt, lodger_server *server, const char *scheme,
                                  char *url, size_t size)
{
    char address[32];
    uint64_t listener = 0;

    CHECK(lodger_listen(rt, "127.0.0.1:0", server, &listener) == LODGER_OK);
    CHECK(lodger_local_addr(rt, listener, address, sizeof(address)) > 0);
    CHECK(snprintf(url, size, "%s://%s", scheme, address) < (int)size);
    return listener;
}

/* Connects a plain socket, blocking, to the port at the end of `url`. */
static inline int plain_socket(const char *url)
{
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(&to, 0, sizeof(to));
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

#endif
