/* lws-echo alone|glib|uv: the same echo by libwebsockets, to be measured beside lodger.
 *
 * One message is in flight on each connection, so one buffer a connection is enough. */
#include <glib.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

struct session {
    size_t length;
    int binary;
    unsigned char buffer[LWS_PRE + 4096];
};

static int echo(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *session = user;
    size_t length;

    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        if (len > sizeof session->buffer - LWS_PRE)
            return -1;
        memcpy(session->buffer + LWS_PRE, in, len);
        session->length = len;
        session->binary = lws_frame_is_binary(wsi);
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        length = session->length;
        session->length = 0;
        if (length && lws_write(wsi, session->buffer + LWS_PRE, length,
                                session->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < (int)length)
            return -1;
        return 0;
    default:
        return 0;
    }
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        {"echo", echo, sizeof(struct session), 4096, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    struct lws_context_creation_info info;
    struct lws_context *context;
    struct lws_vhost *vhost;
    const char *mode = argc > 1 ? argv[1] : "alone";
    void *loops[1] = {NULL};
    uv_loop_t uv;

    lws_set_log_level(LLL_ERR, NULL);
    memset(&info, 0, sizeof info);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.foreign_loops = loops;
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    if (!strcmp(mode, "glib")) {
        loops[0] = g_main_loop_new(NULL, FALSE);
        info.options |= LWS_SERVER_OPTION_GLIB;
    } else if (!strcmp(mode, "uv")) {
        if (uv_loop_init(&uv))
            return 1;
        loops[0] = &uv;
        info.options |= LWS_SERVER_OPTION_LIBUV;
    } else {
        info.foreign_loops = NULL;
    }
    context = lws_create_context(&info);
    if (!context)
        return 1;
    vhost = lws_create_vhost(context, &info);
    if (!vhost)
        return 1;
    printf("listening on http://127.0.0.1:%d\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);

    if (!strcmp(mode, "glib"))
        g_main_loop_run(loops[0]);
    else if (!strcmp(mode, "uv"))
        uv_run(&uv, UV_RUN_DEFAULT);
    else
        while (lws_service(context, 0) >= 0)
            ;
    return 0;
}
