/* lodger-glib.h: several guests, leaving from inside, coming back, modal loops, ends, leaks. */
#include <lodger-glib.h>

#include "glue.h"

static GMainContext *context;
static GSource *guest;
static int fired, dialogs;

static void fire(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
    fired++;
}

static void leave(lodger_runtime *rt, void *user)
{
    /* Two that are due now: the second must not be heard before it is back. */
    (void)user;
    CHECK(lodger_after(rt, 0, fire, NULL) != 0);
    lodger_glib_detach(&guest);
    lodger_glib_detach(&guest);
    CHECK(!guest);
}

/* The loop that runs inside the callback serves a timer that was due with it and one that is due soon,
   though the outer turn has taken their alarm. The runtime is told of that loop, or not: GLib asks
   it before it blocks. */
static void dialog(lodger_runtime *rt, void *announced)
{
    CHECK(fired == 0);
    CHECK(!announced || lodger_modal_begin(rt) == LODGER_OK);
    while (fired < 2)
        g_main_context_iteration(context, TRUE);
    CHECK(!announced || lodger_modal_end(rt) == LODGER_OK);
    dialogs++;
}

static gboolean count(gpointer ticks)
{
    return ++*(int *)ticks < 20 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* The host's own timer, to see that its loop goes on. */
static void host_ticks(void)
{
    GSource *timer = g_timeout_source_new(1);
    int ticks = 0;

    g_source_set_callback(timer, count, &ticks, NULL);
    g_source_attach(timer, context);
    while (ticks < 20)
        g_main_context_iteration(context, TRUE);
    g_source_unref(timer);
}

static void cycles(void)
{
    lodger_runtime *rt = NULL;
    GSource *source;
    int before, i;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    before = descriptors();
    for (i = 0; i < 100; i++) {
        fired = 0;
        source = lodger_glib_attach(rt, context, G_PRIORITY_DEFAULT);
        CHECK(source && lodger_after(rt, 0, fire, NULL) != 0);
        while (!fired)
            g_main_context_iteration(context, TRUE);
        lodger_glib_detach(&source);
    }
    CHECK(descriptors() == before);
    CHECK(lodger_free(rt) == LODGER_OK);
}

/* The host has closed our descriptor: the guest leaves, and the loop does not spin. */
static void closed_under_us(void)
{
    lodger_runtime *rt = NULL;
    GSource *source;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    source = lodger_glib_attach(rt, context, G_PRIORITY_DEFAULT);
    CHECK(source && close(lodger_fd(rt)) == 0);
    while (!g_source_is_destroyed(source))
        g_main_context_iteration(context, TRUE);
    CHECK(!g_main_context_pending(context));
    lodger_glib_detach(&source);
    CHECK(lodger_free(rt) == LODGER_OK);
}

int main(void)
{
    lodger_runtime *one = NULL, *two = NULL;
    GSource *other;

    context = g_main_context_new();
    CHECK(lodger_new(NULL, &one) == LODGER_OK && lodger_new(NULL, &two) == LODGER_OK);
    CHECK(!lodger_glib_attach(one, NULL, 0));
    guest = lodger_glib_attach(one, context, G_PRIORITY_DEFAULT);
    other = lodger_glib_attach(two, context, G_PRIORITY_LOW);
    CHECK(guest && other);

    CHECK(lodger_after(one, 0, fire, NULL) && lodger_after(two, 100, fire, NULL));
    while (fired < 2)
        g_main_context_iteration(context, TRUE);

    fired = 0;
    CHECK(lodger_after(one, 0, dialog, &dialogs) != 0 && lodger_after(one, 0, fire, NULL) != 0);
    CHECK(lodger_after(one, 20000, fire, NULL) != 0);
    while (dialogs < 1)
        g_main_context_iteration(context, TRUE);
    fired = 0;
    CHECK(lodger_after(one, 0, dialog, NULL) != 0 && lodger_after(one, 0, fire, NULL) != 0);
    CHECK(lodger_after(one, 20000, fire, NULL) != 0);
    while (dialogs < 2)
        g_main_context_iteration(context, TRUE);

    fired = 0;
    CHECK(lodger_after(one, 0, leave, NULL) != 0);
    while (guest)
        g_main_context_iteration(context, TRUE);
    host_ticks();
    CHECK(fired == 0);
    guest = lodger_glib_attach(one, context, G_PRIORITY_DEFAULT);
    while (!fired)
        g_main_context_iteration(context, TRUE);

    /* Freed while attached: the source finds it ended, and leaves. */
    CHECK(lodger_free(two) == LODGER_OK);
    host_ticks();
    lodger_glib_detach(&other);
    lodger_glib_detach(&guest);
    CHECK(lodger_free(one) == LODGER_OK);
    cycles();
    closed_under_us();
    g_main_context_unref(context);
    return 0;
}
