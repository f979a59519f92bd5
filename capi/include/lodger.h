/*
 * lodger: a guest in your event loop. HTTP, WebSocket, MQTT and TLS, server and client, inside
 * the loop that a program already has, on its thread.
 *
 *     lodger_runtime *rt;
 *     lodger_new(NULL, &rt);
 *     lodger_server *server = lodger_server_new();
 *     lodger_server_route(server, "GET", "/hello", hello, NULL);
 *     lodger_listen(rt, "127.0.0.1:8080", server, NULL);
 *     for (struct pollfd p = { lodger_fd(rt), POLLIN, 0 };;) {
 *         poll(&p, 1, -1);
 *         if (p.revents) lodger_dispatch(rt);
 *     }
 *
 * The host watches ONE descriptor for input, level-triggered, and calls lodger_dispatch() when it
 * is readable. A host that has a hook before it blocks asks lodger_pending() there. lodger-glib.h
 * and lodger-uv.h are that, ready-made.
 *
 * Rules, for every function unless it says otherwise:
 *
 * 1.  Thread. A runtime belongs to the thread that made it, and so do responses and clients. A call
 *     from another does nothing and says LODGER_E_THREAD. lodger_remote alone crosses threads.
 *     lodger adds no thread, no signal handler and no global state, and raises no SIGPIPE.
 * 2.  Callbacks are called from inside lodger_dispatch() and lodger_run(), and for what ends from
 *     inside lodger_end(), lodger_free() and the last lodger_unref(); from no other function. Inside
 *     a callback every function may be called, lodger_dispatch() and lodger_free() too.
 * 3.  Results. 0 or a positive number is success, LODGER_E_... is failure, and then nothing was
 *     done. lodger_last_error() says what, for people; in a callback that is told of a failure, that.
 * 4.  Owners. What a ..._new or ..._connect gives is yours until the ..._free of the same name, once.
 *     Pointers given to callbacks are lent: they end when the callback returns. What you pass is
 *     copied, except `user` and `state` pointers, which stay yours and must outlast their callbacks.
 * 5.  NULL is checked: LODGER_E_NULL, unless it is said to be allowed. A pointer that is not NULL is
 *     believed: after its ..._free, or made up, it is undefined behaviour as everywhere in C.
 * 6.  Text is UTF-8 with a NUL at its end when you give it; what is given to you comes with its
 *     length and has no NUL, except lodger_last_error(), lodger_version() and log lines.
 * 7.  Structs begin with `size`: set it to sizeof, and what you do not set to zero. A size that this
 *     library does not know is LODGER_E_SIZE.
 * 8.  Ids (uint64_t: connections, listeners, timers) are never used for another thing; a stale one
 *     is LODGER_E_GONE. 0 names nothing.
 * 9.  Time is in microseconds (_us) or milliseconds (_ms) from now.
 * 10. No exception leaves a callback. In C++ 17 and later the types of callbacks are noexcept, so
 *     that the compiler refuses one that may throw; one that throws nevertheless ends the process
 *     with a message. A longjmp out of a callback is undefined behaviour.
 * 11. A bug of lodger's own ends at the border: that call says LODGER_E_PANIC and the runtime is
 *     poisoned: it does nothing any more. Other runtimes go on.
 *
 * Made by `cargo xtask header` from the crate lodger-capi; edit that.
 */

#ifndef LODGER_H
#define LODGER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus) && __cplusplus >= 201703L
#define LODGER_NOEXCEPT noexcept
#else
#define LODGER_NOEXCEPT
#endif

/** It worked. */
#define LODGER_OK 0

/** A pointer was NULL that may not be. */
#define LODGER_E_NULL (-1)

/** The `size` of a struct is none that this library knows. */
#define LODGER_E_SIZE (-2)

/** The call came from another thread than the one that made the runtime. Nothing was done. */
#define LODGER_E_THREAD (-3)

/** The id names nothing that is still there. */
#define LODGER_E_GONE (-4)

/** Too much waits to be sent; nothing was taken. `lodger_want_write` asks to be told. */
#define LODGER_E_FULL (-5)

/** The call was against its contract; `lodger_last_error` says how. */
#define LODGER_E_MISUSE (-6)

/** The operating system refused; `lodger_last_error` says what. */
#define LODGER_E_SYSTEM (-7)

/**
 * A bug of lodger's own was stopped at the border. The runtime is poisoned: every further call
 * says this and does nothing, `lodger_free` too, so its memory and sockets stay.
 */
#define LODGER_E_PANIC (-8)

/** The runtime has ended. */
#define LODGER_E_ENDED (-9)

/** A text is not UTF-8. */
#define LODGER_E_TEXT (-10)

/** The server has taken the message; at QoS 0 it is in the output, and nobody says more. */
#define LODGER_MQTT_ACKNOWLEDGED 0

/** The server has refused it; `code` says why. */
#define LODGER_MQTT_REFUSED 1

/** Nothing was heard in time. It may still arrive. */
#define LODGER_MQTT_TIMED_OUT 2

/** It was dropped for a newer one, its session is lost, or the client has ended. */
#define LODGER_MQTT_LOST 3

/** Of a subscription: what the client itself publishes does not come back (MQTT 5.0). */
#define LODGER_MQTT_NO_LOCAL 1

/** Of a subscription: `retain` is as it was published (MQTT 5.0). */
#define LODGER_MQTT_RETAIN_AS_PUBLISHED 2

/** A ready direction is reported as long as it lasts: poll(), select(), epoll without flags. */
#define LODGER_LEVEL 0

/** Once a change: EPOLLET. */
#define LODGER_EDGE 1

/** Once, then not until the next `rearm`: EPOLLONESHOT. */
#define LODGER_ONESHOT 2

/** Input. */
#define LODGER_READ 1

/** Output. */
#define LODGER_WRITE 2

/** Hang-up or error; reported together with both directions. */
#define LODGER_HUP 4

/** Bugs of lodger's own. A level lets through itself and those below it. */
#define LODGER_LOG_ERROR 1

/** Calls that failed, connections that could not be made. */
#define LODGER_LOG_WARN 2

/** What begins and ends. */
#define LODGER_LOG_INFO 3

/** `lodger_dispatch` says: work is left, dispatch again after the loop has had its own go. */
#define LODGER_AGAIN 1

/**
 * Of a server with roots: clients without a certificate are refused. Without it they are asked
 * for one, and served all the same.
 */
#define LODGER_TLS_REQUIRE 1

/** Of a server: plain HTTP is redirected to https by a 308. Without it, it is a 400. */
#define LODGER_TLS_REDIRECT 2

/** Of a client: trusts anybody. What is sent can be read and changed by whoever stands between. */
#define LODGER_TLS_INSECURE 4

/** Of `lodger_request_tls`: the version, "TLSv1.3" or "TLSv1.2". */
#define LODGER_TLS_PROTOCOL 0

/** The cipher suite, as its registry names it: "TLS13_AES_256_GCM_SHA384". */
#define LODGER_TLS_CIPHER 1

/** The application protocol that both sides agreed on (RFC 7301): "h2", "http/1.1". */
#define LODGER_TLS_ALPN 2

/** The name that the client asked for (SNI: RFC 6066, section 3). */
#define LODGER_TLS_NAME 3

/** A text message: UTF-8. */
#define LODGER_TEXT 1

/** A message of bytes. */
#define LODGER_BINARY 2

/** It ended in good order. */
#define LODGER_REASON_DONE 0

/** The closing handshake is complete; `code` is the peer's, 1005 if it gave none. */
#define LODGER_REASON_CLOSED 1

/** The peer ended its stream in the middle of something. */
#define LODGER_REASON_EOF 2

/** The peer broke its protocol, or was too slow. */
#define LODGER_REASON_PEER 3

/** The system reported an error on the socket: refused, reset; or the name has no address. */
#define LODGER_REASON_IO 4

/** Queued output made no progress for too long. */
#define LODGER_REASON_STALL 5

/** A limit for all connections together was reached. */
#define LODGER_REASON_OVERLOAD 6

/** `lodger_abort` was called. */
#define LODGER_REASON_ABORTED 7

/** A bug of lodger's own ended it. */
#define LODGER_REASON_PANIC 8

/** The runtime ended. */
#define LODGER_REASON_SHUTDOWN 9

/** No connection was made in time. */
#define LODGER_REASON_TIMEOUT 10

/** The server answered with another status, which is `code`. */
#define LODGER_REASON_REFUSED 11

/** An MQTT client that may come and go. */
typedef struct lodger_mqtt_client lodger_mqtt_client;

/** Posts values to a runtime from any thread. Any thread may use it, several at once. */
typedef struct lodger_remote lodger_remote;

/** A request's head, lent to the callback that is given it: not to be kept. */
typedef struct lodger_request lodger_request;

/**
 * The answer to one request. It is the callback's only, unless `lodger_response_keep` makes one
 * that lasts; unanswered, it is a 500.
 */
typedef struct lodger_response lodger_response;

/** A guest of a loop. Belongs to the thread that made it; references to it are counted. */
typedef struct lodger_runtime lodger_runtime;

/**
 * Routes, being put together. Used by one thread at a time; becomes the runtime's when it is
 * listened with.
 */
typedef struct lodger_server lodger_server;

/** A WebSocket that may come and go. */
typedef struct lodger_ws_client lodger_ws_client;

/**
 * Is called once with the outcome of a request: `reason` is `LODGER_REASON_DONE` and there are a
 * status and a body, lent; or why there is none, which `lodger_last_error` says in words then.
 */
typedef void (*lodger_fetch_fn)(struct lodger_runtime *rt,
                                int32_t reason,
                                uint16_t status,
                                const uint8_t *body,
                                size_t len,
                                void *user) LODGER_NOEXCEPT;

/** A field of a request. */
typedef struct lodger_field {
    /** Its name. */
    const char *name;
    /** Its value. */
    const char *value;
} lodger_field;

/**
 * A message to be published. Zero in a field means none; the last four are of MQTT 5.0, and left
 * out in 3.1.1.
 */
typedef struct lodger_mqtt_message {
    /** `sizeof(lodger_mqtt_message)`. */
    size_t size;
    /** Where: without wildcards. Not NULL. */
    const char *topic;
    /** What. */
    const void *payload;
    /** How many bytes. */
    size_t payload_len;
    /** 0, 1 or 2. */
    int32_t qos;
    /** Not 0: the server keeps it for whoever subscribes later. */
    int32_t retain;
    /** Milliseconds after which its end is not waited for; 0 waits for ever. */
    uint32_t within_ms;
    /** Seconds until it is of no use. */
    uint32_t expiry_s;
    /** The media type of the payload. */
    const char *content_type;
    /** Where an answer is to be published. */
    const char *response_topic;
    /** What the answer repeats. */
    const void *correlation;
    /** How many bytes. */
    size_t correlation_len;
    /** User properties. */
    const struct lodger_field *fields;
    /** How many of them. */
    size_t fields_len;
} lodger_mqtt_message;

/** How an MQTT client connects. Zero in a field means its default. */
typedef struct lodger_mqtt_options {
    /** `sizeof(lodger_mqtt_options)`. */
    size_t size;
    /**
     * "mqtt://host:port", "mqtts://...", "ws://host:port/path", "wss://..." or "unix:/path.sock".
     * Not NULL.
     */
    const char *url;
    /** What names the session at the server. NULL: the server chooses. */
    const char *client_id;
    /** 5, or 4 for MQTT 3.1.1 (5). */
    int32_t version;
    /** Seconds of silence after which the server is asked whether it lives (60); -1 never asks. */
    int32_t keep_alive_s;
    /**
     * Seconds that the server keeps the session after a connection has ended. 0: each connection
     * begins anew, and what is published at QoS 1 or 2 meanwhile waits here.
     */
    uint32_t session_s;
    /** The name to log in with. */
    const char *username;
    /** The password to log in with, which is heeded with a name alone. */
    const void *password;
    /** How many bytes. */
    size_t password_len;
    /** What the server publishes when the client is lost. `within_ms` is not heeded. */
    const struct lodger_mqtt_message *will;
    /** Seconds from the loss to the will. */
    uint32_t will_delay_s;
    /** What is published each time that the client has connected. */
    const struct lodger_mqtt_message *birth;
    /** Not 0: a full queue drops its oldest message for a new one. Else the new one is refused. */
    int32_t drop_oldest;
    /** How many times in a row it tries again by itself: 0 never, -1 for ever. */
    int32_t attempts;
    /** As in `lodger_ws_client_options`. */
    const uint32_t *delays_ms;
    /** How many of them. */
    size_t delays_len;
    /** As in `lodger_ws_client_options`. */
    int32_t jitter_percent;
    /** As in `lodger_ws_client_options`. */
    uint32_t up_after_ms;
} lodger_mqtt_options;

/**
 * What hears of one MQTT client. Each function may be NULL, and is called from inside
 * `lodger_dispatch` or `lodger_run`, until `lodger_mqtt_free`. Codes are reason codes (MQTT 5.0,
 * section 2.4; those of MQTT 3.1.1 are translated), which `lodger_last_error` says in words.
 */
typedef struct lodger_mqtt_handler {
    /** `sizeof(lodger_mqtt_handler)`. */
    size_t size;
    /** The server has accepted it. `session_present` is not 0 if it still had the session. */
    void (*connected)(struct lodger_runtime *rt, int32_t session_present, void *state) LODGER_NOEXCEPT;
    /** The server has refused it with this code; `disconnected` follows. */
    void (*refused)(struct lodger_runtime *rt, int32_t code, void *state) LODGER_NOEXCEPT;
    /**
     * The connection has ended, or an attempt has failed: `reason` is `LODGER_REASON_...`, `code`
     * what the server said in its DISCONNECT, -1 if nothing. The next attempt is in `retry_us`;
     * UINT64_MAX: there is none, this is the last call, and every publish was told its end.
     */
    void (*disconnected)(struct lodger_runtime *rt,
                         int32_t reason,
                         int32_t code,
                         uint64_t retry_us,
                         void *state) LODGER_NOEXCEPT;
    /**
     * The server has answered a subscription: `code` is the QoS that it granted, or why not (128
     * and above).
     */
    void (*subscribed)(struct lodger_runtime *rt,
                       const char *filter,
                       size_t filter_len,
                       int32_t code,
                       void *state) LODGER_NOEXCEPT;
    /** There is room again, after a publish that was `LODGER_E_FULL`. */
    void (*writable)(struct lodger_runtime *rt, void *state) LODGER_NOEXCEPT;
} lodger_mqtt_handler;

/**
 * Who one is, and whom one trusts. Everything is read when it is given; zero in a field means its
 * default. PEM is text as in a file, and needs no NUL.
 */
typedef struct lodger_tls_options {
    /** `sizeof(lodger_tls_options)`. */
    size_t size;
    /**
     * A PEM file: the certificate, then those that signed it. A server needs it or `certificate`;
     * a client shows it to servers that ask.
     */
    const char *certificate_file;
    /** A PEM file: the key of the certificate (PKCS #8, PKCS #1 or SEC 1, not encrypted). */
    const char *key_file;
    /** In place of `certificate_file`: the PEM itself. */
    const void *certificate;
    /** How many bytes. */
    size_t certificate_len;
    /** In place of `key_file`: the PEM itself. */
    const void *key;
    /** How many bytes. */
    size_t key_len;
    /**
     * A PEM file of authorities. A client trusts these alone, in place of those that the system
     * trusts; a server asks clients for a certificate that one of them has signed.
     */
    const char *roots_file;
    /** In place of `roots_file`: the PEM itself. */
    const void *roots;
    /** How many bytes. */
    size_t roots_len;
    /** Application protocols, the preferred one first. NULL: those that are spoken. */
    const char *const *alpn;
    /** How many of them. */
    size_t alpn_len;
    /** `LODGER_TLS_REQUIRE`, `..._REDIRECT`, `..._INSECURE`, added up. */
    uint32_t flags;
} lodger_tls_options;

/**
 * Is told, once and from a turn, what became of a message: `LODGER_MQTT_...`, and of a refused one
 * its reason code.
 */
typedef void (*lodger_mqtt_published_fn)(struct lodger_runtime *rt,
                                         int32_t outcome,
                                         int32_t code,
                                         void *user) LODGER_NOEXCEPT;

/** A message that arrived, lent. Texts are not ended by a NUL; what is not there is NULL. */
typedef struct lodger_mqtt_received {
    /** Its size in this library: what is behind it is not there. */
    size_t size;
    /** Where it was published. */
    const char *topic;
    /** How many bytes. */
    size_t topic_len;
    /** What. */
    const uint8_t *payload;
    /** How many bytes. */
    size_t payload_len;
    /** 0, 1 or 2. */
    int32_t qos;
    /** Not 0: it was kept by the server. */
    int32_t retain;
    /** The media type of the payload. */
    const char *content_type;
    /** How many bytes. */
    size_t content_type_len;
    /** Where an answer is to be published. */
    const char *response_topic;
    /** How many bytes. */
    size_t response_topic_len;
    /** What the answer is to repeat. */
    const uint8_t *correlation;
    /** How many bytes. */
    size_t correlation_len;
} lodger_mqtt_received;

/** Is told of a message that a subscription matches. */
typedef void (*lodger_mqtt_message_fn)(struct lodger_runtime *rt,
                                       const struct lodger_mqtt_received *message,
                                       void *user) LODGER_NOEXCEPT;

/** Is told what happens, one line at a time. It must not call lodger. */
typedef void (*lodger_log_fn)(int32_t level, const char *line, void *user) LODGER_NOEXCEPT;

/** How a runtime is made. Zero in a field means its default. */
typedef struct lodger_options {
    /** `sizeof(lodger_options)`. */
    size_t size;
    /** Connections served in a turn at most (64). */
    uint32_t budget_ops;
    /** Microseconds spent in a turn at most (500). */
    uint32_t budget_us;
    /** Connections open at once (65,536). */
    size_t connections;
    /** Bytes queued on a connection above which it takes no further message (256 KiB). */
    size_t queue_high;
    /** Bytes of one message sent at most (64 MiB). */
    size_t send;
    /** The highest level that is logged; 0 logs nothing. */
    int32_t log_level;
    /** Is told what happens, on the runtime's thread. */
    lodger_log_fn log;
    /** Is given to `log`. */
    void *log_user;
} lodger_options;

/**
 * A host's loop, for one guest. All functions are called on the runtime's thread, `wake` excepted,
 * with the `host` that was given to `lodger_new_on`; none may wait or call lodger. None may be
 * NULL. While the runtime is not attached none but `wake` is called.
 */
typedef struct lodger_ops {
    /** `sizeof(lodger_ops)`. */
    size_t size;
    /** How the loop reports readiness: `LODGER_LEVEL`, `LODGER_EDGE` or `LODGER_ONESHOT`. */
    int32_t trigger;
    /** How many microseconds late the loop's timer may be. */
    uint32_t timer_resolution_us;
    /** Names the host for people to read; copied. */
    const char *name;
    /**
     * Begins to watch `fd` for `want` (`LODGER_READ`, `LODGER_WRITE`, both or 0), which is to be
     * reported under `token`. 0 is silence, hang-up included; an edge-triggered loop is asked for
     * both. Gives 0, or an errno if the loop refuses.
     */
    int32_t (*watch)(void *host, int32_t fd, uint64_t token, int32_t want) LODGER_NOEXCEPT;
    /** Replaces the directions watched. Not called on an edge-triggered loop. */
    int32_t (*rearm)(void *host, int32_t fd, uint64_t token, int32_t want) LODGER_NOEXCEPT;
    /** Stops watching; the descriptor is closed next, or watched again. */
    void (*unwatch)(void *host, int32_t fd, uint64_t token) LODGER_NOEXCEPT;
    /**
     * Sets the guest's one timer to so many microseconds from now, in place of what was set; -1
     * stops it. When it fires, once: `lodger_fired`, then `lodger_dispatch`.
     */
    void (*set_timer)(void *host, int64_t delay_us) LODGER_NOEXCEPT;
    /** Asks for one `lodger_dispatch` after the loop has had its own go. */
    void (*request_turn)(void *host) LODGER_NOEXCEPT;
    /**
     * Asks for one `lodger_dispatch`, from any thread; many before it are one. Called as long as
     * anybody has a `lodger_remote`, which may be longer than the runtime lives.
     */
    void (*wake)(void *host) LODGER_NOEXCEPT;
} lodger_ops;

/**
 * Is called on the runtime's thread, in a turn, once for each value that was posted. The value is
 * its own now.
 */
typedef void (*lodger_value_fn)(struct lodger_runtime *rt, void *value, void *user) LODGER_NOEXCEPT;

/** Frees a value or a state. */
typedef void (*lodger_free_fn)(void *value) LODGER_NOEXCEPT;

/** Answers a request whose body has arrived. `body` is lent. */
typedef void (*lodger_body_fn)(struct lodger_runtime *rt,
                               const uint8_t *body,
                               size_t len,
                               struct lodger_response *response,
                               void *user) LODGER_NOEXCEPT;

/** Answers a request. Without an answer in `response` when it returns, the client gets a 500. */
typedef void (*lodger_route_fn)(struct lodger_runtime *rt,
                                const struct lodger_request *request,
                                struct lodger_response *response,
                                void *user) LODGER_NOEXCEPT;

/**
 * What hears one WebSocket, or all of a route. Each function may be NULL, and is called from
 * inside `lodger_dispatch` or `lodger_run`. `conn` names the connection for `lodger_ws_send` and
 * others, also between the calls.
 */
typedef struct lodger_ws_handler {
    /** `sizeof(lodger_ws_handler)`. */
    size_t size;
    /**
     * Of a route: a client asks for a WebSocket. 0 accepts, a status (403) refuses. `*state` is
     * the route's `user`; what is put there instead is given to the other functions.
     */
    uint16_t (*accept)(const struct lodger_request *request, void *user, void **state) LODGER_NOEXCEPT;
    /** The handshake is complete: the first call. */
    void (*open)(struct lodger_runtime *rt, uint64_t conn, void *state) LODGER_NOEXCEPT;
    /** A whole message arrived; `kind` is `LODGER_TEXT` or `LODGER_BINARY`. The data is lent. */
    void (*message)(struct lodger_runtime *rt,
                    uint64_t conn,
                    int32_t kind,
                    const uint8_t *data,
                    size_t len,
                    void *state) LODGER_NOEXCEPT;
    /** There is room for `room` bytes of output, as `lodger_want_write` asked. */
    void (*writable)(struct lodger_runtime *rt, uint64_t conn, size_t room, void *state) LODGER_NOEXCEPT;
    /**
     * It is over: once, the last call for this connection. A client that connects again hears
     * `open` and `closed` for each attempt that opened, and `closed` for each that did not.
     */
    void (*closed)(struct lodger_runtime *rt,
                   uint64_t conn,
                   int32_t reason,
                   uint16_t code,
                   void *state) LODGER_NOEXCEPT;
    /** Nothing is called with this state any more. */
    lodger_free_fn free_state;
} lodger_ws_handler;

/** Rules of WebSockets. Zero in a field means its default. */
typedef struct lodger_ws_options {
    /** `sizeof(lodger_ws_options)`. */
    size_t size;
    /** Bytes of a message received at most; more ends the connection with 1009. */
    uint64_t max_message;
    /**
     * Milliseconds of silence after which the peer is pinged; 0 with `hang_up_after_ms` set never
     * pings.
     */
    uint32_t ping_after_ms;
    /** Milliseconds of silence after which it is given up; 0 is twice `ping_after_ms`. */
    uint32_t hang_up_after_ms;
    /** The subprotocols, separated by commas, the preferred first. */
    const char *protocols;
    /** Not 0: pages of any origin may connect. Else those of the same host. */
    int32_t any_origin;
} lodger_ws_options;

/** Counters since the runtime began. */
typedef struct lodger_stats {
    /** `sizeof(lodger_stats)`, set by the caller. */
    size_t size;
    /** Turns: each a look at the kernel queue. */
    uint64_t turns;
    /** Turns that found something to do. */
    uint64_t wakes;
    /** Turns inside a callback of an outer one. */
    uint64_t nested;
    /** Connections accepted or adopted. */
    uint64_t accepted;
    /** Connections open now. */
    uint64_t open;
    /** Connections that ended otherwise than in good order. */
    uint64_t aborted;
    /** HTTP requests. */
    uint64_t requests;
    /** WebSocket messages received. */
    uint64_t messages;
    /** Bytes received. */
    uint64_t received;
    /** Bytes sent. */
    uint64_t sent;
    /** Timers that are armed now, those of connections included. */
    uint64_t timers;
} lodger_stats;

/** Is called when a timer is due. */
typedef void (*lodger_timer_fn)(struct lodger_runtime *rt, void *user) LODGER_NOEXCEPT;

/**
 * Is told of each wait before another attempt: how long it is, and why the last one ended
 * (`LODGER_REASON_...`).
 */
typedef void (*lodger_retry_fn)(struct lodger_runtime *rt,
                                uint64_t delay_us,
                                int32_t reason,
                                void *user) LODGER_NOEXCEPT;

/** How a WebSocket client connects. Zero in a field means its default. */
typedef struct lodger_ws_client_options {
    /** `sizeof(lodger_ws_client_options)`. */
    size_t size;
    /** "ws://host:port/path", "wss://...", or "unix:/path.sock:/path". Not NULL. */
    const char *url;
    /** Limits, subprotocols, pings; may be NULL. */
    const struct lodger_ws_options *ws;
    /** Fields for the request. */
    const struct lodger_field *fields;
    /** How many of them. */
    size_t fields_len;
    /** How many times in a row it tries again by itself: 0 never, -1 for ever. */
    int32_t attempts;
    /**
     * Milliseconds to wait after the first failure in a row, the second and so on; the last for all
     * others. NULL: 0.5, 1, 2, 4, 8, 16, 30 s.
     */
    const uint32_t *delays_ms;
    /** How many of them. */
    size_t delays_len;
    /** Percent of a delay that chance adds at most; 0 is 30, -1 adds nothing. */
    int32_t jitter_percent;
    /**
     * Milliseconds that a connection must have been up for its failure to count as the first
     * again (5 s).
     */
    uint32_t up_after_ms;
    /** Is told of each wait. */
    lodger_retry_fn on_retry;
} lodger_ws_client_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Tells what went wrong in the last call that failed on this thread, in English and for people.
 * In a callback that is told of a failure (`LODGER_REASON_...`) it says that one, until a call fails.
 * Never NULL; valid until the next failure on this thread.
 */
const char *lodger_last_error(void);

/** Gives the version, as in "0.1.0". */
const char *lodger_version(void);

/**
 * Asks a server: `method` ("GET") and `url` ("http://host:port/path", "https://..."), with a body
 * that is copied and may be NULL. `f` is called with `user` once, from a turn, with a response of at
 * most `most` bytes; not if the runtime ends first.
 */
int32_t lodger_fetch(struct lodger_runtime *rt,
                     const char *method,
                     const char *url,
                     const void *body,
                     size_t len,
                     size_t most,
                     lodger_fetch_fn f,
                     void *user);

/**
 * Connects, and connects again by policy. `handler` is copied and heard with `state`; it may be NULL.
 * Whom mqtts and wss trust is what `lodger_trust` has said. `*out` is to be given to
 * `lodger_mqtt_free`.
 */
int32_t lodger_mqtt_connect(struct lodger_runtime *rt,
                            const struct lodger_mqtt_options *options,
                            const struct lodger_mqtt_handler *handler,
                            void *state,
                            struct lodger_mqtt_client **out);

/** 1 if the server has accepted it and the connection is there, 0 if not. */
int32_t lodger_mqtt_is_connected(struct lodger_mqtt_client *client);

/**
 * Says goodbye, so that the will stays unsaid, and does not connect again. What waits is lost. The
 * handler hears `disconnected` when it is done.
 */
int32_t lodger_mqtt_disconnect(struct lodger_mqtt_client *client);

/**
 * Ends the client as `lodger_mqtt_disconnect` does, and frees it. Nothing of it is called any more,
 * what tells the end of a publish included. Also from inside its own callbacks. NULL is allowed.
 */
int32_t lodger_mqtt_free(struct lodger_mqtt_client *client);

/**
 * Listens for MQTT, and has every client hear what the others publish: over TLS if `tls` is not NULL.
 * All listeners of a runtime are one broker's, which keeps sessions and messages in memory.
 * Everybody may connect, publish and subscribe: listen where only those reach it who may. `*out`
 * names the listener, and may be NULL.
 */
int32_t lodger_listen_mqtt(struct lodger_runtime *rt,
                           const char *address,
                           const struct lodger_tls_options *tls,
                           uint64_t *out);

/**
 * Publishes a message. At QoS 1 and 2 it waits while there is no connection or no room, and
 * `published` is told its end with `user`; both may be NULL. `LODGER_E_GONE`: there is no connection
 * for QoS 0, or the client was ended. `LODGER_E_FULL`: too much waits; the handler hears `writable`.
 */
int32_t lodger_mqtt_publish(struct lodger_mqtt_client *client,
                            const struct lodger_mqtt_message *message,
                            lodger_mqtt_published_fn published,
                            void *user);

/**
 * Subscribes: `f` is told of each message that matches `filter` (a topic with the wildcards + and #, or
 * "$share/GROUP/FILTER"), until `lodger_mqtt_unsubscribe`. `qos` is the highest to be heard; `flags`
 * are `LODGER_MQTT_...`. Several subscriptions with one filter are one at the server, with the options
 * of the latest. The server's answer is heard by the handler. `*out` names the subscription, and
 * may be NULL.
 */
int32_t lodger_mqtt_subscribe(struct lodger_mqtt_client *client,
                              const char *filter,
                              int32_t qos,
                              uint32_t flags,
                              lodger_mqtt_message_fn f,
                              void *user,
                              uint64_t *out);

/** Ends a subscription: its function is not called any more. `LODGER_E_GONE`: it has ended before. */
int32_t lodger_mqtt_unsubscribe(struct lodger_mqtt_client *client,
                                uint64_t subscription);

/**
 * Makes a runtime on a host's own loop, for a host that must see each descriptor, or cannot watch
 * one that is a queue itself. It has no descriptor of its own and is in the loop after
 * `lodger_attach`. `ops` is copied; `host` must outlast the runtime and every remote.
 *
 * The host reports what is ready (`lodger_report`, `lodger_fired`) and then gives one
 * `lodger_dispatch` for all of it.
 */
int32_t lodger_new_on(const struct lodger_options *options,
                      const struct lodger_ops *ops,
                      void *host,
                      struct lodger_runtime **out);

/**
 * Tells that what is watched under `token` may be ready: `LODGER_READ`, `LODGER_WRITE`,
 * `LODGER_HUP` with both. A hint: late, repeated and wrong ones do no harm. `lodger_dispatch`
 * follows.
 */
int32_t lodger_report(struct lodger_runtime *rt,
                      uint64_t token,
                      int32_t ready);

/** Tells that the timer has fired. `lodger_dispatch` follows. */
int32_t lodger_fired(struct lodger_runtime *rt);

/**
 * Makes what other threads post to. `f` is called with each value. A value that the runtime's end
 * leaves behind is given to `unseen`, unless that is NULL, on whatever thread drops it.
 */
int32_t lodger_remote_new(struct lodger_runtime *rt,
                          lodger_value_fn f,
                          void *user,
                          lodger_free_fn unseen,
                          struct lodger_remote **out);

/**
 * Posts a value from any thread. Many posts between two turns wake the loop once. The value is
 * given away, unless this fails: `LODGER_E_GONE` says that the runtime has ended.
 */
int32_t lodger_remote_post(struct lodger_remote *remote,
                           void *value);

/** Gives the remote up, from any thread. What was posted still arrives. NULL is allowed. */
void lodger_remote_free(struct lodger_remote *remote);

/**
 * Gives the method: "GET". Like all texts of a request it is lent until the callback returns, is
 * `*len` bytes long and has no NUL at its end.
 */
const char *lodger_request_method(const struct lodger_request *request,
                                  size_t *len);

/** Gives the path, still percent-encoded. */
const char *lodger_request_path(const struct lodger_request *request, size_t *len);

/** Gives what stands behind the `?`; NULL if there is none. */
const char *lodger_request_query(const struct lodger_request *request, size_t *len);

/** Gives the first field of this name, if it is text; else NULL. Names are compared without case. */
const char *lodger_request_header(const struct lodger_request *request,
                                  const char *name,
                                  size_t *len);

/** Gives what a `{name}` of the route's pattern stands for, still percent-encoded; else NULL. */
const char *lodger_request_param(const struct lodger_request *request,
                                 const char *name,
                                 size_t *len);

/** Sets the status of the answer, 200 to 999; 200 unless set. */
int32_t lodger_response_status(struct lodger_response *response, uint16_t status);

/**
 * Adds a field to the answer. What RFC 9110, section 5 forbids in names and values is refused; on
 * a kept response it makes the answer a 500.
 */
int32_t lodger_response_header(struct lodger_response *response,
                               const char *name,
                               const char *value);

/**
 * Answers, with `len` bytes that are copied; a kept response is freed by it, whatever it returns.
 * `content_type` may be NULL for an answer without a body. `LODGER_E_GONE`: the client has gone.
 */
int32_t lodger_respond(struct lodger_response *response,
                       const char *content_type,
                       const void *body,
                       size_t len);

/**
 * Makes a response that outlasts the callback, to be answered later, on this thread: by
 * `lodger_respond`, which frees it, or `lodger_response_free`. Status and fields are set on it
 * afterwards. Requests that the client has sent behind it wait.
 */
int32_t lodger_response_keep(struct lodger_response *response,
                             struct lodger_response **out);

/** Gives up a kept response: the client gets a 500. NULL is allowed. */
int32_t lodger_response_free(struct lodger_response *response);

/**
 * Has `f` called with the whole request body, of at most `most` bytes (else the client gets a
 * 413), and with the response to answer. `user` must stay until then; `f` is not called if the
 * client goes first.
 */
int32_t lodger_response_read_body(struct lodger_response *response,
                                  uint64_t most,
                                  lodger_body_fn f,
                                  void *user);

/**
 * Makes a runtime on its own kernel queue. `options` may be NULL. `*out` is written on success
 * alone; give it to `lodger_free` once.
 */
int32_t lodger_new(const struct lodger_options *options,
                   struct lodger_runtime **out);

/**
 * Ends the runtime and gives up one reference. Every handler hears `closed`: here, or, when it is
 * called inside a callback, as soon as the outermost `lodger_dispatch` or `lodger_run` is left.
 * NULL is allowed.
 *
 * Glue that holds a reference (`lodger_ref`) keeps the memory; its calls say `LODGER_E_ENDED`.
 */
int32_t lodger_free(struct lodger_runtime *rt);

/** Takes one more reference, to be given up by `lodger_unref`. It keeps the memory, not the life. */
int32_t lodger_ref(struct lodger_runtime *rt);

/**
 * Gives up one reference; the last one ends the runtime. NULL is allowed. From another thread it
 * does nothing, and the memory stays.
 */
int32_t lodger_unref(struct lodger_runtime *rt);

/**
 * Ends everything: each handler hears `closed` with `LODGER_REASON_SHUTDOWN`. Legal inside a
 * callback, and again.
 */
int32_t lodger_end(struct lodger_runtime *rt);

/**
 * Says goodbye in every protocol, and ends the runtime after `grace_us` microseconds or when the
 * last connection has gone.
 */
int32_t lodger_shutdown(struct lodger_runtime *rt,
                        uint64_t grace_us);

/**
 * Gives the descriptor that a host watches for input, level-triggered, calling `lodger_dispatch`
 * when it is readable. It belongs to the runtime: do not read, write or close it.
 */
int32_t lodger_fd(struct lodger_runtime *rt);

/**
 * Runs one turn without waiting: callbacks are called from here. Gives 0, or `LODGER_AGAIN` if
 * work is left, or an error. May be called again from inside a callback. A host that watches the
 * descriptor level-triggered may ignore `LODGER_AGAIN`: the descriptor stays readable.
 */
int32_t lodger_dispatch(struct lodger_runtime *rt);

/** Runs the runtime's own loop until it ends or is detached. */
int32_t lodger_run(struct lodger_runtime *rt);

/**
 * Tells whether work waits that the descriptor does not announce: 1 is "dispatch before you
 * block". To be asked where a host has a hook before it blocks; costs a few loads.
 */
int32_t lodger_pending(struct lodger_runtime *rt);

/**
 * Gives the microseconds from now to the next timer, 0 if it is due, -1 if there is none. A host
 * that watches the descriptor needs it not: the descriptor becomes readable then.
 */
int64_t lodger_next_deadline(struct lodger_runtime *rt);

/**
 * Reads the runtime's monotonic clock, in microseconds; inside a callback it is the time that its
 * turn knows. 0 without a runtime of this thread.
 */
uint64_t lodger_now(struct lodger_runtime *rt);

/**
 * Stops all callbacks; nothing is lost, and what arrives meanwhile is found after
 * `lodger_attach`. Legal inside a callback, and again.
 */
int32_t lodger_detach(struct lodger_runtime *rt);

/**
 * Goes on after `lodger_detach`, in the same host or another. A runtime of `lodger_new_on` is in
 * its host's loop from here on, or the host has refused a descriptor.
 */
int32_t lodger_attach(struct lodger_runtime *rt);

/**
 * Says that the callback under way is about to run the host's loop: a modal dialog. All
 * connections but those whose callbacks are on the stack are served meanwhile. Followed by
 * `lodger_modal_end` in the same callback.
 */
int32_t lodger_modal_begin(struct lodger_runtime *rt);

/** Ends what `lodger_modal_begin` began. */
int32_t lodger_modal_end(struct lodger_runtime *rt);

/** Names the host for people to read, as on the live page: "GLib 2.74.6". */
int32_t lodger_host(struct lodger_runtime *rt, const char *name);

/** Asks for one `writable` of a connection, once it has room for output. */
int32_t lodger_want_write(struct lodger_runtime *rt, uint64_t conn);

/**
 * Stops (`on` not 0) or resumes the input of a connection. What its peer sends meanwhile is the
 * peer's to hold.
 */
int32_t lodger_pause(struct lodger_runtime *rt,
                     uint64_t conn,
                     int32_t paused);

/** Ends a connection now, dropping what is queued. Nothing happens if it has ended. */
int32_t lodger_abort(struct lodger_runtime *rt, uint64_t conn);

/** Writes how many bytes wait to be sent on a connection; 0 if it has ended. */
int32_t lodger_queued(struct lodger_runtime *rt, uint64_t conn, size_t *out);

/**
 * Makes a server without routes: everything is a 404. Give it to `lodger_listen` or to
 * `lodger_server_free`.
 */
struct lodger_server *lodger_server_new(void);

/** Frees a server that is not listened with. NULL is allowed. */
void lodger_server_free(struct lodger_server *server);

/**
 * Answers `method` ("GET", which answers HEAD too) of `pattern` by `f`. A pattern is a path whose
 * segments may be parameters: "/user/{id}", "/files/{*rest}". Mistakes in it are told by
 * `lodger_listen`. `user` must stay as long as the listener and its connections.
 */
int32_t lodger_server_route(struct lodger_server *server,
                            const char *method,
                            const char *pattern,
                            lodger_route_fn f,
                            void *user);

/**
 * Serves WebSockets at `pattern` by the functions of `handler`, which is copied. `options` may be
 * NULL. Its state is `user`, unless `accept` makes one for each connection.
 */
int32_t lodger_server_ws(struct lodger_server *server,
                         const char *pattern,
                         const struct lodger_ws_handler *handler,
                         const struct lodger_ws_options *options,
                         void *user);

/**
 * Serves the live page at `path` ("/status"), and what it needs below; and at `also` ("/"), unless
 * that is NULL.
 */
int32_t lodger_server_live(struct lodger_server *server,
                           const char *path,
                           const char *also);

/** Serves the files of the directory `dir` below `prefix`, with ranges and conditions. */
int32_t lodger_server_files(struct lodger_server *server,
                            const char *prefix,
                            const char *dir);

/**
 * Listens on `address`: "127.0.0.1:8080", "[::1]:0" (port 0: the system chooses), "unix:/a/b.sock".
 * On success the server is the runtime's, and `*out` (which may be NULL) the listener's id; else
 * it stays yours.
 */
int32_t lodger_listen(struct lodger_runtime *rt,
                      const char *address,
                      struct lodger_server *server,
                      uint64_t *out);

/**
 * As `lodger_listen`, on a socket that listens already: one that a supervisor has opened. It is
 * the runtime's on success, and stays yours else.
 */
int32_t lodger_listen_fd(struct lodger_runtime *rt,
                         int32_t fd,
                         struct lodger_server *server,
                         uint64_t *out);

/** Stops listening. Connections that were accepted live on. */
int32_t lodger_unlisten(struct lodger_runtime *rt, uint64_t listener);

/**
 * Writes the address of a listener, with its real port, into `buffer` of `size` bytes, cut and
 * NUL-terminated. Gives its length without the NUL, which is `size` or more if it was cut.
 */
int32_t lodger_local_addr(struct lodger_runtime *rt,
                          uint64_t listener,
                          char *buffer,
                          size_t size);

/** Writes the counters. */
int32_t lodger_stats_get(struct lodger_runtime *rt, struct lodger_stats *out);

/**
 * Calls `f` once, `delay_us` microseconds from `lodger_now`, never earlier; 0 is the next turn. Gives
 * the timer's id, 0 for an error. `user` must stay until it was called or the timer cancelled.
 */
uint64_t lodger_after(struct lodger_runtime *rt,
                      uint64_t delay_us,
                      lodger_timer_fn f,
                      void *user);

/**
 * Calls `f` every `period_us` microseconds, the first time after one; what was missed is skipped.
 * Gives the timer's id, 0 for an error. `user` must stay until the timer is cancelled or the
 * runtime has ended.
 */
uint64_t lodger_every(struct lodger_runtime *rt,
                      uint64_t period_us,
                      lodger_timer_fn f,
                      void *user);

/** Cancels a timer: it is not called again, even if it was due in this turn. */
int32_t lodger_cancel(struct lodger_runtime *rt, uint64_t timer);

/** Moves a timer to `delay_us` microseconds from now; inside its own callback, the next call. */
int32_t lodger_rearm(struct lodger_runtime *rt,
                     uint64_t timer,
                     uint64_t delay_us);

/**
 * Has a server be served over TLS: give it to `lodger_listen` or `lodger_listen_fd` afterwards. The
 * options name a certificate and its key. `LODGER_E_SYSTEM` or `LODGER_E_MISUSE`: a file cannot be
 * read, or is not what it should be; the server is as before.
 */
int32_t lodger_server_tls(struct lodger_server *server,
                          const struct lodger_tls_options *options);

/**
 * Sets whom `lodger_fetch`, `lodger_ws_connect` and `lodger_mqtt_connect` trust behind TLS, for calls
 * from now on. NULL, or never called: whom the system trusts, read at the first such call. Options without
 * roots: the same, read at once. A server that is not trusted is `LODGER_REASON_PEER`, and
 * `lodger_last_error` says why.
 */
int32_t lodger_trust(struct lodger_runtime *rt,
                     const struct lodger_tls_options *options);

/**
 * Gives what the TLS handshake of a request's connection agreed on: `what` is
 * `LODGER_TLS_PROTOCOL`, `..._CIPHER`, `..._ALPN` or `..._NAME`. NULL if that was not agreed on; the
 * protocol is NULL only if the request did not come over TLS. Lent, and of `*len` bytes.
 */
const char *lodger_request_tls(const struct lodger_request *request,
                               int32_t what,
                               size_t *len);

/**
 * Gives a certificate that the client has shown, in DER, lent: its own is number 0, those that
 * signed it follow. NULL if there is none of this number.
 */
const uint8_t *lodger_request_certificate(const struct lodger_request *request,
                                          size_t number,
                                          size_t *len);

/**
 * Sends a message, all or nothing: copied, or `LODGER_E_FULL`, or `LODGER_E_GONE`. Also from
 * outside of callbacks, and on a connection whose callback is running.
 */
int32_t lodger_ws_send(struct lodger_runtime *rt,
                       uint64_t conn,
                       int32_t kind,
                       const void *data,
                       size_t len);

/**
 * Starts the closing handshake (RFC 6455, section 7.1.2) with `code`, and `reason` of at most 123
 * bytes, which may be NULL. A client closed so does not connect again if the code is 1000.
 */
int32_t lodger_ws_close(struct lodger_runtime *rt,
                        uint64_t conn,
                        uint16_t code,
                        const char *reason);

/**
 * Connects, and connects again by policy. `handler` is copied and heard with `state`. `*out` is to
 * be given to `lodger_ws_client_free`; it may be NULL for a client that is left alone.
 */
int32_t lodger_ws_connect(struct lodger_runtime *rt,
                          const struct lodger_ws_client_options *options,
                          const struct lodger_ws_handler *handler,
                          void *state,
                          struct lodger_ws_client **out);

/** Sends a message, as `lodger_ws_send`; `LODGER_E_GONE` while there is no connection. */
int32_t lodger_ws_client_send(struct lodger_ws_client *client,
                              int32_t kind,
                              const void *data,
                              size_t len);

/** Gives the id of the attempt under way, 0 between attempts. */
uint64_t lodger_ws_client_conn(struct lodger_ws_client *client);

/** Closes with `code`, and does not connect again. */
int32_t lodger_ws_client_close(struct lodger_ws_client *client, uint16_t code);

/** Frees the name; what it named goes on. NULL is allowed. */
int32_t lodger_ws_client_free(struct lodger_ws_client *client);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LODGER_H */
