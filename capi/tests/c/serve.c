/* Routes, bodies, kept answers, files of a request, a client of the same process, counters. */
#include "rules.h"

static int done;
static lodger_response *kept;

static void hello(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                  void *user)
{
    char text[128];
    size_t name_len, query_len, method_len, path_len;
    const char *name = lodger_request_param(request, "name", &name_len);
    const char *query = lodger_request_query(request, &query_len);
    const char *method = lodger_request_method(request, &method_len);
    const char *path = lodger_request_path(request, &path_len);

    CHECK(rt != NULL && user == &done);
    CHECK(method_len == 3 && memcmp(method, "GET", 3) == 0);
    CHECK(path_len == 10 && memcmp(path, "/hello/bob", 10) == 0);
    CHECK(lodger_request_header(request, "Host", NULL) != NULL);
    CHECK(lodger_request_header(request, "X-None", &path_len) == NULL && path_len == 0);
    snprintf(text, sizeof(text), "%.*s?%.*s", (int)name_len, name, (int)query_len, query);
    CHECK(lodger_response_status(response, 99) == LODGER_E_MISUSE);
    CHECK(lodger_response_status(response, 203) == LODGER_OK);
    CHECK(lodger_response_header(response, "x-a", "b\r\nc: d") == LODGER_E_MISUSE);
    CHECK(lodger_response_header(response, "x-a", "b") == LODGER_OK);
    answer_text(response, text);
    CHECK(lodger_respond(response, NULL, NULL, 0) == LODGER_E_MISUSE);
}

static void unanswered(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                       void *user)
{
    (void)rt, (void)request, (void)response, (void)user;
}

static void sum(lodger_runtime *rt, const uint8_t *body, size_t len, lodger_response *response,
                void *user)
{
    char text[32];
    unsigned total = 0;
    size_t i;

    (void)rt, (void)user;
    for (i = 0; i < len; i++)
        total += body[i];
    snprintf(text, sizeof(text), "%u", total);
    answer_text(response, text);
}

static void post(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                 void *user)
{
    (void)rt, (void)request, (void)user;
    CHECK(lodger_response_read_body(response, 100, sum, NULL) == LODGER_OK);
}

static void answer_kept(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
    CHECK(lodger_response_status(kept, 202) == LODGER_OK);
    CHECK(lodger_response_header(kept, "x-kept", "yes") == LODGER_OK);
    answer_text(kept, "later");
}

static void later(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                  void *user)
{
    (void)request, (void)user;
    CHECK(lodger_response_keep(response, &kept) == LODGER_OK);
    CHECK(lodger_response_keep(response, &kept) == LODGER_E_MISUSE);
    CHECK(lodger_after(rt, 1000, answer_kept, NULL) != 0);
}

static void drop_kept(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                      void *user)
{
    lodger_response *mine = NULL;

    (void)rt, (void)request, (void)user;
    CHECK(lodger_response_free(response) == LODGER_E_MISUSE);
    CHECK(lodger_response_keep(response, &mine) == LODGER_OK);
    CHECK(lodger_response_free(mine) == LODGER_OK);
}

struct outcome {
    int reason, status;
    char body[64];
};

static void fetched(lodger_runtime *rt, int32_t reason, uint16_t status, const uint8_t *body,
                    size_t len, void *user)
{
    struct outcome *outcome = user;

    (void)rt;
    outcome->reason = reason;
    outcome->status = status;
    snprintf(outcome->body, sizeof(outcome->body), "%.*s", (int)len, (const char *)body);
    done = 1;
}

static struct outcome fetch(lodger_runtime *rt, const char *method, const char *base,
                            const char *path, const char *body)
{
    struct outcome outcome;
    char url[128];

    snprintf(url, sizeof(url), "%s%s", base, path);
    done = 0;
    CHECK(lodger_fetch(rt, method, url, body, body ? strlen(body) : 0, 1000, fetched, &outcome) ==
          LODGER_OK);
    serve_until(rt, &done);
    return outcome;
}

static void logged(int32_t level, const char *line, void *user)
{
    CHECK(level <= LODGER_LOG_INFO && line[0]);
    ++*(int *)user;
}

int main(void)
{
    int lines = 0;
    lodger_options options = { sizeof(options), 0, 0, 0, 0, 0, LODGER_LOG_INFO, logged, &lines };
    lodger_stats stats = { sizeof(stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    struct outcome outcome;
    uint64_t listener;
    char base[64];

    CHECK(lodger_new(&options, &rt) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/hello/{name}", hello, &done) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/none", unanswered, NULL) == LODGER_OK);
    CHECK(lodger_server_route(server, "POST", "/sum", post, NULL) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/later", later, NULL) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/drop", drop_kept, NULL) == LODGER_OK);
    CHECK(lodger_server_live(server, "/live", NULL) == LODGER_OK);
    listener = listen_url(rt, server, "http", base, sizeof(base));

    outcome = fetch(rt, "GET", base, "/hello/bob?q=1", NULL);
    CHECK(outcome.reason == LODGER_REASON_DONE && outcome.status == 203);
    CHECK(strcmp(outcome.body, "bob?q=1") == 0);
    CHECK(fetch(rt, "GET", base, "/none", NULL).status == 500);
    outcome = fetch(rt, "POST", base, "/sum", "abc");
    CHECK(outcome.status == 200 && strcmp(outcome.body, "294") == 0);
    outcome = fetch(rt, "GET", base, "/later", NULL);
    CHECK(outcome.status == 202 && strcmp(outcome.body, "later") == 0);
    CHECK(fetch(rt, "GET", base, "/drop", NULL).status == 500);
    CHECK(fetch(rt, "GET", base, "/nowhere", NULL).status == 404);

    CHECK(lodger_stats_get(rt, &stats) == LODGER_OK);
    CHECK(stats.requests == 6 && stats.accepted >= 1 && stats.sent > 0);
    CHECK(lodger_unlisten(rt, listener) == LODGER_OK);
    CHECK(lodger_unlisten(rt, listener) == LODGER_E_GONE);
    CHECK(fetch(rt, "GET", "http://127.0.0.1:1", "/", NULL).reason == LODGER_REASON_IO);
    CHECK(lines >= 2);
    CHECK(lodger_free(rt) == LODGER_OK);
    return 0;
}
