/* What is against the contract and is told so, or does nothing. */
#include "rules.h"

static int done;

static void nothing(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
}

static void finish(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
    done = 1;
}

static void must_not_run(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
    CHECK(!"a timer ran that must not");
}

static lodger_runtime *fresh(void)
{
    lodger_runtime *rt = NULL;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK && rt);
    return rt;
}

static void null_pointers(void)
{
    lodger_runtime *rt = fresh();
    lodger_server *server = lodger_server_new();
    lodger_stats stats;

    CHECK(lodger_new(NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_fd(NULL) == LODGER_E_NULL);
    CHECK(lodger_dispatch(NULL) == LODGER_E_NULL);
    CHECK(lodger_run(NULL) == LODGER_E_NULL);
    CHECK(lodger_pending(NULL) == LODGER_E_NULL);
    CHECK(lodger_next_deadline(NULL) == -1 && lodger_now(NULL) == 0);
    CHECK(lodger_after(NULL, 1, nothing, NULL) == 0);
    CHECK(lodger_after(rt, 1, NULL, NULL) == 0);
    CHECK(lodger_host(rt, NULL) == LODGER_E_NULL);
    CHECK(lodger_host(rt, "\xff") == LODGER_E_TEXT);
    CHECK(lodger_server_route(server, "GET", NULL, NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_server_route(NULL, "GET", "/", NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_server_ws(server, "/", NULL, NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_listen(rt, "127.0.0.1:0", NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_listen(rt, NULL, server, NULL) == LODGER_E_NULL);
    CHECK(lodger_stats_get(rt, NULL) == LODGER_E_NULL);
    CHECK(lodger_ws_connect(rt, NULL, NULL, NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_fetch(rt, NULL, NULL, NULL, 0, 0, NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_respond(NULL, NULL, NULL, 0) == LODGER_E_NULL);
    CHECK(lodger_response_keep(NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_request_path(NULL, NULL) == NULL);
    CHECK(lodger_remote_post(NULL, NULL) == LODGER_E_NULL);
    CHECK(strstr(lodger_last_error(), "NULL") != NULL);
    CHECK(lodger_free(NULL) == LODGER_OK && lodger_unref(NULL) == LODGER_OK);
    CHECK(lodger_response_free(NULL) == LODGER_OK && lodger_ws_client_free(NULL) == LODGER_OK);
    lodger_remote_free(NULL);
    lodger_server_free(NULL);
    lodger_server_free(server);
    memset(&stats, 0, sizeof(stats));
    CHECK(lodger_free(rt) == LODGER_OK);
}

static void wrong_sizes(void)
{
    lodger_runtime *rt = fresh(), *none = NULL;
    lodger_server *server = lodger_server_new();
    lodger_options options;
    lodger_ws_handler handler;
    lodger_stats stats;

    memset(&options, 0, sizeof(options));
    CHECK(lodger_new(&options, &none) == LODGER_E_SIZE && !none);
    options.size = sizeof(options) + 8;
    CHECK(lodger_new(&options, &none) == LODGER_E_SIZE && !none);
    CHECK(strstr(lodger_last_error(), "lodger_options.size") != NULL);
    memset(&handler, 0, sizeof(handler));
    handler.size = (size_t)-1;
    CHECK(lodger_server_ws(server, "/", &handler, NULL, NULL) == LODGER_E_SIZE);
    stats.size = 4;
    CHECK(lodger_stats_get(rt, &stats) == LODGER_E_SIZE);
    lodger_server_free(server);
    CHECK(lodger_free(rt) == LODGER_OK);
}

static void bad_words(void)
{
    lodger_runtime *rt = fresh();
    lodger_server *server = lodger_server_new();
    lodger_ws_client_options options;
    lodger_ws_handler handler;
    int pipe_ends[2];

    CHECK(lodger_listen(rt, "nowhere", server, NULL) == LODGER_E_MISUSE);
    CHECK(lodger_listen(rt, "192.0.2.1:1", server, NULL) == LODGER_E_SYSTEM);
    CHECK(pipe(pipe_ends) == 0);
    CHECK(lodger_listen_fd(rt, pipe_ends[0], server, NULL) < 0);
    CHECK(lodger_listen_fd(rt, -1, server, NULL) == LODGER_E_MISUSE);
    /* What was refused is still ours. */
    CHECK(close(pipe_ends[0]) == 0 && close(pipe_ends[1]) == 0);
    CHECK(lodger_server_live(server, "/{", NULL) == LODGER_OK);
    CHECK(lodger_listen(rt, "127.0.0.1:0", server, NULL) == LODGER_E_MISUSE);
    lodger_server_free(server);

    memset(&options, 0, sizeof(options));
    memset(&handler, 0, sizeof(handler));
    options.size = sizeof(options);
    handler.size = sizeof(handler);
    options.url = "gopher://x";
    CHECK(lodger_ws_connect(rt, &options, &handler, NULL, NULL) == LODGER_E_MISUSE);
    options.url = "ws://127.0.0.1:1";
    options.fields_len = 1;
    CHECK(lodger_ws_connect(rt, &options, &handler, NULL, NULL) == LODGER_E_MISUSE);

    CHECK(lodger_cancel(rt, 0) == LODGER_E_GONE && lodger_rearm(rt, 12345, 1) == LODGER_E_GONE);
    CHECK(lodger_ws_send(rt, 0, LODGER_TEXT, "x", 1) == LODGER_E_GONE);
    CHECK(lodger_ws_close(rt, 99, 1000, NULL) == LODGER_E_GONE);
    CHECK(lodger_want_write(rt, 99) == LODGER_E_GONE && lodger_pause(rt, 99, 1) == LODGER_E_GONE);
    CHECK(lodger_abort(rt, 99) == LODGER_OK);
    CHECK(lodger_free(rt) == LODGER_OK);
}

/* Calls from another thread than the runtime's. */
static void *stranger(void *user)
{
    lodger_runtime *rt = user;

    CHECK(lodger_dispatch(rt) == LODGER_E_THREAD);
    CHECK(lodger_run(rt) == LODGER_E_THREAD);
    CHECK(lodger_pending(rt) == LODGER_E_THREAD);
    CHECK(lodger_after(rt, 0, must_not_run, NULL) == 0);
    CHECK(lodger_end(rt) == LODGER_E_THREAD);
    CHECK(lodger_detach(rt) == LODGER_E_THREAD);
    CHECK(lodger_free(rt) == LODGER_E_THREAD);
    CHECK(strstr(lodger_last_error(), "thread") != NULL);
    return NULL;
}

static void wrong_thread(void)
{
    lodger_runtime *rt = fresh();
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, stranger, rt) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(lodger_dispatch(rt) >= 0);
    CHECK(lodger_free(rt) == LODGER_OK);
}

/* Detach twice, attach twice; nothing is lost meanwhile. */
static void detach_twice(void)
{
    lodger_runtime *rt = fresh();

    done = 0;
    CHECK(lodger_after(rt, 0, finish, NULL) != 0);
    CHECK(lodger_detach(rt) == LODGER_OK && lodger_detach(rt) == LODGER_OK);
    CHECK(lodger_dispatch(rt) == 0 && !done);
    CHECK(lodger_attach(rt) == LODGER_OK && lodger_attach(rt) == LODGER_OK);
    serve_until(rt, &done);
    CHECK(lodger_free(rt) == LODGER_OK);
}

/* A descriptor of ours that the host has closed: it learns so from its own poll. */
static void closed_under_us(void)
{
    lodger_runtime *rt = fresh();
    struct pollfd p = { lodger_fd(rt), POLLIN, 0 };
    int i;

    done = 0;
    CHECK(lodger_after(rt, 1000, finish, NULL) != 0);
    CHECK(close(p.fd) == 0);
    CHECK(poll(&p, 1, 1000) == 1 && (p.revents & POLLNVAL));
    for (i = 0; i < 60000 && !done; i++) {
        CHECK(lodger_dispatch(rt) >= 0);
        usleep(1000);
    }
    CHECK(done);
    CHECK(lodger_free(rt) == LODGER_OK);
}

/* Ends while somebody holds a reference: the memory stays, the life does not. */
static void freed_while_held(void)
{
    lodger_runtime *rt = fresh();

    CHECK(lodger_ref(rt) == LODGER_OK);
    CHECK(lodger_free(rt) == LODGER_OK);
    CHECK(lodger_dispatch(rt) == LODGER_E_ENDED);
    CHECK(lodger_run(rt) == LODGER_E_ENDED);
    CHECK(lodger_attach(rt) == LODGER_E_ENDED);
    CHECK(lodger_after(rt, 0, must_not_run, NULL) == 0);
    CHECK(lodger_pending(rt) == 0 && lodger_end(rt) == LODGER_OK);
    CHECK(lodger_unref(rt) == LODGER_OK);
}

static void free_it(lodger_runtime *rt, void *user)
{
    (void)user;
    CHECK(lodger_after(rt, 0, must_not_run, NULL) != 0);
    CHECK(lodger_free(rt) == LODGER_OK);
    /* The outermost dispatch still holds it. */
    CHECK(lodger_after(rt, 0, must_not_run, NULL) == 0);
    CHECK(lodger_dispatch(rt) == LODGER_E_ENDED);
    done = 1;
}

static void freed_inside_a_callback(void)
{
    lodger_runtime *rt = fresh();

    done = 0;
    CHECK(lodger_after(rt, 0, free_it, NULL) != 0);
    while (!done)
        CHECK(lodger_dispatch(rt) >= 0);

    rt = fresh();
    CHECK(lodger_after(rt, 0, free_it, NULL) != 0);
    CHECK(lodger_run(rt) == LODGER_OK);
}

static void reenter(lodger_runtime *rt, void *user)
{
    int *depth = user;

    if (++*depth < 20) {
        CHECK(lodger_after(rt, 0, reenter, user) != 0);
        CHECK(lodger_dispatch(rt) >= 0);
        CHECK(lodger_dispatch(rt) >= 0);
    } else {
        done = 1;
    }
}

/* Dispatch inside of dispatch, deeper than is served. */
static void reentered(void)
{
    lodger_runtime *rt = fresh();
    int depth = 0;

    done = 0;
    CHECK(lodger_after(rt, 0, reenter, &depth) != 0);
    serve_until(rt, &done);
    CHECK(lodger_free(rt) == LODGER_OK);
}

int main(void)
{
    null_pointers();
    wrong_sizes();
    bad_words();
    wrong_thread();
    detach_twice();
    closed_under_us();
    freed_while_held();
    freed_inside_a_callback();
    reentered();
    return 0;
}
