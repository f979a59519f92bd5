/*
 * MQTT in a GLib main loop: publishes a temperature five times a second, and prints what it hears.
 *
 *     mqtt [URL [COUNT]]
 *
 * Without a URL it is its own broker, which others may join. With COUNT it ends after so many were
 * taken by the server and heard again.
 */
#include <lodger-glib.h>
#include <stdio.h>
#include <stdlib.h>

static GMainLoop *main_loop;
static lodger_mqtt_client *client;
static int published, taken, heard, count;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, lodger_last_error());
    exit(1);
}

static void leave_when_done(void)
{
    if (count && taken >= count && heard >= count)
        lodger_mqtt_disconnect(client);
}

static void on_connected(lodger_runtime *rt, int32_t session_present, void *state)
{
    (void)rt, (void)session_present, (void)state;
    printf("connected\n");
}

static void on_disconnected(lodger_runtime *rt, int32_t reason, int32_t code, uint64_t retry_us,
                            void *state)
{
    (void)rt, (void)reason, (void)code, (void)state;
    if (retry_us == UINT64_MAX)
        g_main_loop_quit(main_loop);
    else
        printf("%s: again in %.1f s\n", lodger_last_error(), (double)retry_us / 1e6);
}

static void on_message(lodger_runtime *rt, const lodger_mqtt_received *message, void *user)
{
    (void)rt, (void)user;
    printf("%.*s: %.*s\n", (int)message->topic_len, message->topic, (int)message->payload_len,
           (const char *)message->payload);
    heard++;
    leave_when_done();
}

/* The server has taken a message, or not. */
static void on_published(lodger_runtime *rt, int32_t outcome, int32_t code, void *user)
{
    (void)rt, (void)code, (void)user;
    if (outcome == LODGER_MQTT_ACKNOWLEDGED)
        taken++;
    else
        printf("a message came to nothing: %d\n", outcome);
    leave_when_done();
}

static gboolean measure(gpointer data)
{
    lodger_mqtt_message message = { .size = sizeof(message), .topic = "room/temperature", .qos = 1,
                                    .content_type = "text/plain" };
    char text[32];

    (void)data;
    if (count && published >= count)
        return G_SOURCE_CONTINUE;
    message.payload_len = (size_t)snprintf(text, sizeof(text), "%.1f", 20.0 + published % 30 / 10.0);
    message.payload = text;
    /* It waits while there is no connection; when too much waits, the next one is tried. */
    if (lodger_mqtt_publish(client, &message, on_published, NULL) == LODGER_OK)
        published++;
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
    lodger_mqtt_message will = { .size = sizeof(will), .topic = "room/state", .payload = "lost",
                                 .payload_len = 4, .retain = 1 };
    lodger_mqtt_options options = { .size = sizeof(options), .will = &will, .attempts = -1 };
    lodger_mqtt_handler handler = { .size = sizeof(handler), .connected = on_connected,
                                    .disconnected = on_disconnected };
    lodger_runtime *rt;
    GSource *seat;
    char address[64], own[96];

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (lodger_new(NULL, &rt) < 0)
        die("lodger_new");
    count = argc > 2 ? atoi(argv[2]) : 0;
    options.url = argv[1];
    if (argc < 2 || argv[1][0] == '\0') {
        uint64_t listener;

        if (lodger_listen_mqtt(rt, "127.0.0.1:0", NULL, &listener) < 0)
            die("lodger_listen_mqtt");
        lodger_local_addr(rt, listener, address, sizeof(address));
        snprintf(own, sizeof(own), "mqtt://%s", address);
        options.url = own;
        printf("a broker on %s\n", own);
    }
    if (lodger_mqtt_connect(rt, &options, &handler, NULL, &client) < 0)
        die(options.url);
    if (lodger_mqtt_subscribe(client, "room/#", 1, 0, on_message, NULL, NULL) < 0)
        die("lodger_mqtt_subscribe");

    seat = lodger_glib_attach(rt, g_main_context_default(), G_PRIORITY_DEFAULT);
    if (!seat)
        die("lodger_glib_attach");
    main_loop = g_main_loop_new(NULL, FALSE);
    g_timeout_add(200, measure, NULL);
    g_main_loop_run(main_loop);

    lodger_mqtt_free(client);
    lodger_glib_detach(&seat);
    lodger_free(rt);
    g_main_loop_unref(main_loop);
    printf("%d taken, %d heard\n", taken, heard);
    return 0;
}
