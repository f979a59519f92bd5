/* A callback that runs Tcl's loop, as a dialog of Tk's does: all others are served. */
#include <tcl.h>

#include "rules.h"

static int answers;
static char url[96];

static void readable(ClientData rt, int mask)
{
    (void)mask;
    CHECK(lodger_dispatch((lodger_runtime *)rt) >= 0);
}

static void fetched(lodger_runtime *rt, int32_t reason, uint16_t status, const uint8_t *body,
                    size_t len, void *closed)
{
    (void)rt, (void)body, (void)len;
    CHECK(reason == LODGER_REASON_DONE && status == 200);
    answers++;
    *(int *)closed = 1;
}

static void plain(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                  void *user)
{
    (void)rt, (void)request, (void)user;
    answer_text(response, "plain");
}

static void dialog(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                   void *user)
{
    int closed = 0;

    (void)request, (void)user;
    CHECK(lodger_modal_begin(rt) == LODGER_OK);
    CHECK(lodger_fetch(rt, "GET", url, NULL, 0, 100, fetched, &closed) == LODGER_OK);
    while (!closed)
        Tcl_DoOneEvent(TCL_ALL_EVENTS);
    CHECK(lodger_modal_end(rt) == LODGER_OK);
    CHECK(answers == 1);
    answer_text(response, "dialog");
}

static void too_long(ClientData data)
{
    (void)data;
    CHECK(!"the dialog never closed");
}

int main(void)
{
    Tcl_Interp *interp;
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    char base[64], first[96];
    int done = 0;

    Tcl_FindExecutable("tcl_modal");
    interp = Tcl_CreateInterp();
    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/dialog", dialog, NULL) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/plain", plain, NULL) == LODGER_OK);
    listen_url(rt, server, "http", base, sizeof(base));
    snprintf(first, sizeof(first), "%s/dialog", base);
    snprintf(url, sizeof(url), "%s/plain", base);

    Tcl_CreateFileHandler(lodger_fd(rt), TCL_READABLE, readable, rt);
    Tcl_CreateTimerHandler(60000, too_long, NULL);
    CHECK(lodger_fetch(rt, "GET", first, NULL, 0, 100, fetched, &done) == LODGER_OK);
    while (!done)
        Tcl_DoOneEvent(TCL_ALL_EVENTS);
    CHECK(answers == 2);
    Tcl_DeleteFileHandler(lodger_fd(rt));
    CHECK(lodger_free(rt) == LODGER_OK);
    Tcl_DeleteInterp(interp);
    return 0;
}
