/* MQTT from both ends: connect, publish with completion, subscribe, wills, refusals, the end of a
 * client. With a certificate and its key as arguments: the same over TLS. */
#include "rules.h"

static int done;

struct peer {
    lodger_mqtt_client *client;
    int connected, disconnected, granted, heard, told[4], reason;
    uint64_t retry_us;
    char last[64];
};

static void connected(lodger_runtime *rt, int32_t session_present, void *state)
{
    (void)rt;
    CHECK(session_present == 0);
    ((struct peer *)state)->connected++;
    done = 1;
}

static void disconnected(lodger_runtime *rt, int32_t reason, int32_t code, uint64_t retry_us,
                         void *state)
{
    struct peer *peer = state;

    (void)rt;
    CHECK(code >= -1);
    peer->disconnected++;
    peer->reason = reason;
    peer->retry_us = retry_us;
    done = 1;
}

static void subscribed(lodger_runtime *rt, const char *filter, size_t len, int32_t code,
                       void *state)
{
    (void)rt;
    CHECK(len == 3 && memcmp(filter, "a/#", 3) == 0);
    ((struct peer *)state)->granted = code;
    done = 1;
}

static void hear(lodger_runtime *rt, const lodger_mqtt_received *message, void *user)
{
    struct peer *peer = user;

    (void)rt;
    CHECK(message->size == sizeof(*message));
    snprintf(peer->last, sizeof(peer->last), "%.*s %.*s %d %d", (int)message->topic_len,
             message->topic, (int)message->payload_len, (const char *)message->payload,
             message->qos, message->retain);
    if (message->response_topic) {
        CHECK(message->response_topic_len == 6);
        CHECK(memcmp(message->response_topic, "answer", 6) == 0);
        CHECK(message->correlation_len == 2 && memcmp(message->correlation, "\0\1", 2) == 0);
        CHECK(message->content_type_len == 10);
    }
    if (++peer->heard == 3)
        done = 1;
}

/* What a publish came to. */
static void told(lodger_runtime *rt, int32_t outcome, int32_t code, void *user)
{
    (void)rt, (void)code;
    CHECK(outcome >= 0 && outcome < 4);
    ((struct peer *)user)->told[outcome]++;
    done = 1;
}

/* Frees its own client, in the midst of a message. */
static void free_it(lodger_runtime *rt, const lodger_mqtt_received *message, void *user)
{
    struct peer *peer = user;

    (void)rt, (void)message;
    CHECK(lodger_mqtt_free(peer->client) == LODGER_OK);
    peer->client = NULL;
    peer->heard++;
    done = 1;
}

static lodger_mqtt_handler handler = { sizeof(handler), connected, NULL, disconnected, subscribed,
                                       NULL };

static void wait_for(lodger_runtime *rt)
{
    serve_until(rt, &done);
    done = 0;
}

static void start(lodger_runtime *rt, lodger_mqtt_options *options, struct peer *peer)
{
    memset(peer, 0, sizeof(*peer));
    CHECK(lodger_mqtt_connect(rt, options, &handler, peer, &peer->client) == LODGER_OK);
    wait_for(rt);
    CHECK(peer->connected == 1 && lodger_mqtt_is_connected(peer->client) == 1);
}

static void publish(struct peer *peer, lodger_mqtt_message *message, const char *text, int qos)
{
    message->payload = text;
    message->payload_len = strlen(text);
    message->qos = qos;
    CHECK(lodger_mqtt_publish(peer->client, message, told, peer) == LODGER_OK);
}

static void misuse(lodger_runtime *rt, lodger_mqtt_client *client)
{
    lodger_mqtt_options bad = { .size = sizeof(bad), .url = "gopher://x" };
    lodger_mqtt_message message = { .size = sizeof(message), .topic = "t" };
    lodger_mqtt_client *none = NULL;

    CHECK(lodger_mqtt_connect(rt, &bad, NULL, NULL, &none) == LODGER_E_MISUSE);
    CHECK(lodger_mqtt_connect(rt, &bad, NULL, NULL, NULL) == LODGER_E_NULL);
    bad.url = "mqtt://127.0.0.1:1";
    bad.version = 3;
    CHECK(lodger_mqtt_connect(rt, &bad, NULL, NULL, &none) == LODGER_E_MISUSE);
    bad.version = 0;
    bad.keep_alive_s = 70000;
    CHECK(lodger_mqtt_connect(rt, &bad, NULL, NULL, &none) == LODGER_E_MISUSE);
    CHECK(none == NULL && lodger_mqtt_free(NULL) == LODGER_OK);
    CHECK(lodger_mqtt_publish(client, NULL, NULL, NULL) == LODGER_E_NULL);
    message.qos = 3;
    CHECK(lodger_mqtt_publish(client, &message, NULL, NULL) == LODGER_E_MISUSE);
    message.qos = 0;
    message.topic = "a/+";
    CHECK(lodger_mqtt_publish(client, &message, NULL, NULL) == LODGER_E_MISUSE);
    message.size = 3;
    CHECK(lodger_mqtt_publish(client, &message, NULL, NULL) == LODGER_E_SIZE);
    CHECK(lodger_mqtt_subscribe(client, "a/#/b", 0, 0, hear, NULL, NULL) == LODGER_E_MISUSE);
    CHECK(lodger_mqtt_subscribe(client, "a", 0, 4, hear, NULL, NULL) == LODGER_E_MISUSE);
    CHECK(lodger_mqtt_subscribe(client, "a", 0, 0, NULL, NULL, NULL) == LODGER_E_NULL);
    CHECK(lodger_mqtt_unsubscribe(client, 77) == LODGER_E_GONE);
    CHECK(lodger_mqtt_is_connected(NULL) == LODGER_E_NULL);
    CHECK(lodger_listen_mqtt(rt, "nowhere", NULL, NULL) < 0);
}

/* A runtime of its own ends without a goodbye: its client's will is said. */
static void will(lodger_runtime *rt, lodger_mqtt_options options, struct peer *hears)
{
    lodger_mqtt_message last = { .size = sizeof(last), .topic = "a/will", .payload = "gone",
                                 .payload_len = 4, .qos = 1 };
    lodger_runtime *other = NULL;
    struct peer dies;
    struct pollfd fds[2];

    memset(&dies, 0, sizeof(dies));
    options.will = &last;
    options.client_id = "dies";
    CHECK(lodger_new(NULL, &other) == LODGER_OK);
    if (strncmp(options.url, "mqtts", 5) == 0) {
        lodger_tls_options anybody = { .size = sizeof(anybody), .flags = LODGER_TLS_INSECURE };

        CHECK(lodger_trust(other, &anybody) == LODGER_OK);
    }
    CHECK(lodger_mqtt_connect(other, &options, &handler, &dies, &dies.client) == LODGER_OK);
    fds[0] = (struct pollfd){ lodger_fd(rt), POLLIN, 0 };
    fds[1] = (struct pollfd){ lodger_fd(other), POLLIN, 0 };
    while (!dies.connected) {
        CHECK(poll(fds, 2, lodger_pending(rt) == 1 || lodger_pending(other) == 1 ? 0 : 60000) >= 0);
        CHECK(lodger_dispatch(rt) >= 0 && lodger_dispatch(other) >= 0);
    }
    CHECK(lodger_free(other) == LODGER_OK);
    CHECK(lodger_mqtt_free(dies.client) == LODGER_OK);
    done = 0;
    hears->heard = 2;
    wait_for(rt);
    CHECK(strcmp(hears->last, "a/will gone 1 0") == 0);
}

/* Nobody listens there: an end that is waited for in vain, and one that comes with the client's. */
static void without_server(lodger_runtime *rt)
{
    static const uint32_t delays[] = { 3600000 };
    lodger_mqtt_options options = { .size = sizeof(options), .url = "mqtt://127.0.0.1:1",
                                    .attempts = -1, .delays_ms = delays, .delays_len = 1,
                                    .jitter_percent = -1 };
    lodger_mqtt_message message = { .size = sizeof(message), .topic = "t", .within_ms = 20 };
    struct peer peer;

    memset(&peer, 0, sizeof(peer));
    CHECK(lodger_mqtt_connect(rt, &options, &handler, &peer, &peer.client) == LODGER_OK);
    wait_for(rt);
    CHECK(peer.disconnected == 1 && peer.reason == LODGER_REASON_IO);
    CHECK(peer.retry_us == 3600000000u && lodger_mqtt_is_connected(peer.client) == 0);
    CHECK(lodger_mqtt_publish(peer.client, &message, told, &peer) == LODGER_E_GONE);
    publish(&peer, &message, "x", 1);
    wait_for(rt);
    CHECK(peer.told[LODGER_MQTT_TIMED_OUT] == 1);
    message.within_ms = 0;
    publish(&peer, &message, "y", 2);
    CHECK(lodger_mqtt_disconnect(peer.client) == LODGER_OK);
    while (peer.disconnected < 2)
        wait_for(rt);
    CHECK(peer.told[LODGER_MQTT_LOST] == 1 && peer.retry_us == UINT64_MAX);
    CHECK(lodger_mqtt_free(peer.client) == LODGER_OK);
}

int main(int argc, char **argv)
{
    static const lodger_field fields[] = { { "k", "v" }, { "k", "w" } };
    lodger_tls_options own = { .size = sizeof(own) };
    lodger_tls_options anybody = { .size = sizeof(anybody), .flags = LODGER_TLS_INSECURE };
    lodger_mqtt_options options = { .size = sizeof(options), .session_s = 0 };
    lodger_mqtt_message message = { .size = sizeof(message), .topic = "a/b" };
    lodger_mqtt_message birth = { .size = sizeof(birth), .topic = "a/born", .payload = "hello",
                                  .payload_len = 5, .retain = 1 };
    lodger_runtime *rt = NULL;
    struct peer hears, says, frees;
    uint64_t listener = 0, sub = 0;
    char address[64], url[96];
    int tls = argc == 3;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    if (tls) {
        own.certificate_file = argv[1];
        own.key_file = argv[2];
        CHECK(lodger_trust(rt, &anybody) == LODGER_OK);
    }
    CHECK(lodger_listen_mqtt(rt, "127.0.0.1:0", tls ? &own : NULL, &listener) == LODGER_OK);
    CHECK(lodger_local_addr(rt, listener, address, sizeof(address)) > 0);
    snprintf(url, sizeof(url), "%s://%s", tls ? "mqtts" : "mqtt", address);
    options.url = url;

    start(rt, &options, &hears);
    options.version = 4;
    options.client_id = "says";
    options.username = "me";
    options.password = "secret";
    options.password_len = 6;
    start(rt, &options, &says);
    options.version = 0;
    misuse(rt, says.client);
    CHECK(lodger_mqtt_subscribe(hears.client, "a/#", 2, LODGER_MQTT_RETAIN_AS_PUBLISHED, hear,
                                &hears, &sub) == LODGER_OK);
    wait_for(rt);
    CHECK(hears.granted == 2 && sub != 0);

    publish(&says, &message, "0", 0);
    publish(&says, &message, "1", 1);
    publish(&says, &message, "2", 2);
    while (says.told[LODGER_MQTT_ACKNOWLEDGED] < 3 || hears.heard < 3)
        wait_for(rt);
    CHECK(strcmp(hears.last, "a/b 2 2 0") == 0);

    /* What MQTT 5.0 adds, by the one who speaks it; it hears itself. */
    hears.heard = 2;
    message.expiry_s = 60;
    message.content_type = "text/plain";
    message.response_topic = "answer";
    message.correlation = "\0\1";
    message.correlation_len = 2;
    message.fields = fields;
    message.fields_len = 2;
    publish(&hears, &message, "p", 1);
    while (!hears.told[LODGER_MQTT_ACKNOWLEDGED] || hears.heard < 3)
        wait_for(rt);
    CHECK(strcmp(hears.last, "a/b p 1 0") == 0);

    will(rt, options, &hears);

    /* A birth, by a client that then frees itself from within its own callback. */
    options.client_id = "frees";
    options.birth = &birth;
    handler.subscribed = NULL;
    hears.heard = 2;
    start(rt, &options, &frees);
    while (hears.heard < 3)
        wait_for(rt);
    CHECK(strcmp(hears.last, "a/born hello 0 1") == 0);
    CHECK(lodger_mqtt_subscribe(frees.client, "f", 0, 0, free_it, &frees, NULL) == LODGER_OK);
    memset(&message, 0, sizeof(message));
    message.size = sizeof(message);
    message.topic = "f";
    while (!frees.heard) {
        publish(&says, &message, "", 1);
        wait_for(rt);
    }
    CHECK(frees.client == NULL && frees.disconnected == 0);

    /* One that is not heard any more, and the end in good order. */
    CHECK(lodger_mqtt_unsubscribe(hears.client, sub) == LODGER_OK);
    CHECK(lodger_mqtt_unsubscribe(hears.client, sub) == LODGER_E_GONE);
    hears.heard = 0;
    message.topic = "a/b";
    says.told[LODGER_MQTT_ACKNOWLEDGED] = 0;
    publish(&says, &message, "x", 1);
    while (!says.told[LODGER_MQTT_ACKNOWLEDGED])
        wait_for(rt);
    CHECK(hears.heard == 0);
    CHECK(lodger_mqtt_disconnect(says.client) == LODGER_OK);
    while (!says.disconnected)
        wait_for(rt);
    CHECK(says.retry_us == UINT64_MAX);
    CHECK(lodger_mqtt_publish(says.client, &message, told, &says) == LODGER_E_GONE);
    CHECK(lodger_mqtt_free(says.client) == LODGER_OK);
    without_server(rt);

    /* A client outlives its runtime, as a name. */
    CHECK(lodger_free(rt) == LODGER_OK);
    CHECK(lodger_mqtt_is_connected(hears.client) == 0);
    CHECK(lodger_mqtt_free(hears.client) == LODGER_OK);
    return 0;
}
