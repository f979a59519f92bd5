/*
 * A lodger runtime in a GLib main context: GTK, GStreamer, everything on GLib.
 *
 *     GSource *guest = lodger_glib_attach(rt, g_main_context_default(), G_PRIORITY_DEFAULT);
 *     if (!guest) g_error("%s", lodger_last_error());
 *     ...
 *     lodger_glib_detach(&guest);
 *
 * Compiled with your program, against your GLib; liblodger itself knows none. All on the thread
 * that runs the context and made the runtime.
 */
#ifndef LODGER_GLIB_H
#define LODGER_GLIB_H

#include <glib-unix.h>
#include <lodger.h>

/** What is behind the GSource. */
typedef struct lodger_glib_source {
    GSource source;
    lodger_runtime *rt;
    gpointer tag;
    gint depth;
} lodger_glib_source;

/* Milliseconds until the runtime wants a turn that its descriptor may not announce, -1 for never. An
   outer turn may have emptied the descriptor before a modal loop blocks on it, and a modal loop that
   was not announced finds the runtime's own alarm unset. */
static inline gint lodger_glib_wait(const lodger_glib_source *self)
{
    int64_t micros = -1;

    if (lodger_pending(self->rt) == 1)
        return 0;
    if (self->depth > 0)
        micros = lodger_next_deadline(self->rt);
    if (micros < 0)
        return -1;
    return micros / 1000 < G_MAXINT ? (gint)((micros + 999) / 1000) : G_MAXINT;
}

static inline gboolean lodger_glib_prepare(GSource *source, gint *timeout)
{
    *timeout = lodger_glib_wait((lodger_glib_source *)source);
    return *timeout == 0;
}

static inline gboolean lodger_glib_check(GSource *source)
{
    lodger_glib_source *self = (lodger_glib_source *)source;
    return g_source_query_unix_fd(source, self->tag) != 0 || lodger_glib_wait(self) == 0;
}

/* A runtime that was ended, whose queue has failed, or whose descriptor somebody has closed, leaves
   the loop: g_source_is_destroyed() tells. */
static inline gboolean lodger_glib_dispatch(GSource *source, GSourceFunc f, gpointer data)
{
    lodger_glib_source *self = (lodger_glib_source *)source;
    int32_t turn;

    (void)f;
    (void)data;
    if ((g_source_query_unix_fd(source, self->tag) & G_IO_NVAL) != 0)
        return G_SOURCE_REMOVE;
    self->depth++;
    turn = lodger_dispatch(self->rt);
    self->depth--;
    return turn >= 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static inline void lodger_glib_finalize(GSource *source)
{
    lodger_unref(((lodger_glib_source *)source)->rt);
}

/**
 * Puts the runtime into `context`, which is not NULL: name g_main_context_default() if you mean it.
 * Keeps a reference to the runtime. Gives a source for lodger_glib_detach(), or NULL, and then
 * lodger_last_error() says why. Legal inside a callback of the context.
 */
static inline GSource *lodger_glib_attach(lodger_runtime *rt, GMainContext *context, gint priority)
{
    static GSourceFuncs functions = { lodger_glib_prepare, lodger_glib_check, lodger_glib_dispatch,
                                      lodger_glib_finalize, NULL, NULL };
    gchar *name;
    GSource *source;

    if (!context || lodger_attach(rt) < 0 || lodger_ref(rt) < 0)
        return NULL;
    source = g_source_new(&functions, (guint)sizeof(lodger_glib_source));
    ((lodger_glib_source *)source)->rt = rt;
    ((lodger_glib_source *)source)->tag = g_source_add_unix_fd(source, lodger_fd(rt), G_IO_IN);
    name = g_strdup_printf("GLib %u.%u.%u", glib_major_version, glib_minor_version,
                           glib_micro_version);
    lodger_host(rt, name);
    g_free(name);
    g_source_set_name(source, "lodger");
    g_source_set_priority(source, priority);
    g_source_set_can_recurse(source, TRUE);
    g_source_attach(source, context);
    return source;
}

/**
 * Takes the runtime out of its context, at once, and sets `*guest` to NULL; nothing happens if it
 * is. No callback follows, also when called from inside one. The runtime may be attached again.
 */
static inline void lodger_glib_detach(GSource **guest)
{
    GSource *source = *guest;

    if (!source)
        return;
    *guest = NULL;
    lodger_detach(((lodger_glib_source *)source)->rt);
    g_source_destroy(source);
    g_source_unref(source);
}

#endif
