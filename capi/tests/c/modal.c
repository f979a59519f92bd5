/* A callback that runs the host's loop: a modal dialog. Others are served meanwhile. */
#include "rules.h"

static int done, inside, answers;
static char url[96];

static void fetched(lodger_runtime *rt, int32_t reason, uint16_t status, const uint8_t *body,
                    size_t len, void *user)
{
    (void)rt, (void)body, (void)len;
    CHECK(reason == LODGER_REASON_DONE && status == 200);
    answers++;
    *(int *)user = 1;
}

static void plain(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                  void *user)
{
    (void)rt, (void)request, (void)user;
    CHECK(inside);
    answer_text(response, "plain");
}

static void dialog(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                   void *user)
{
    int closed = 0;

    (void)request, (void)user;
    inside = 1;
    CHECK(lodger_modal_begin(rt) == LODGER_OK);
    CHECK(lodger_fetch(rt, "GET", url, NULL, 0, 100, fetched, &closed) == LODGER_OK);
    serve_until(rt, &closed);
    CHECK(lodger_modal_end(rt) == LODGER_OK);
    inside = 0;
    answer_text(response, "dialog");
}

int main(void)
{
    lodger_stats stats = { sizeof(stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    char base[64], first[96];

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/dialog", dialog, NULL) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/plain", plain, NULL) == LODGER_OK);
    listen_url(rt, server, "http", base, sizeof(base));
    snprintf(first, sizeof(first), "%s/dialog", base);
    snprintf(url, sizeof(url), "%s/plain", base);

    CHECK(lodger_fetch(rt, "GET", first, NULL, 0, 100, fetched, &done) == LODGER_OK);
    serve_until(rt, &done);

    CHECK(answers == 2);
    CHECK(lodger_stats_get(rt, &stats) == LODGER_OK && stats.nested > 0);
    CHECK(lodger_free(rt) == LODGER_OK);
    return 0;
}
