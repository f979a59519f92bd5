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
