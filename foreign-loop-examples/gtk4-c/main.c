/*
 * A GTK window with a live chart, and a web server, in one thread.
 *
 * LODGER_FEED=ws://127.0.0.1:PORT/ names a feed of prices, one number a message.
 */
#include <gtk/gtk.h>
#include <lodger-glib.h>

#include "guest.h"

#define PRICES 200

static GMainLoop *main_loop;
static GSource *seat;
static GtkWidget *chart, *badge;
static double prices[PRICES];
static int price_count;
static gint64 again; /* when the feed is tried again, in microseconds; 0 while it is there */

static void set_badge(const char *class, const char *text)
{
    const char *classes[] = { "badge", class, NULL };

    gtk_widget_set_css_classes(badge, classes);
    gtk_label_set_text(GTK_LABEL(badge), text);
}

static void feed_open(lodger_runtime *rt, uint64_t conn, void *state)
{
    (void)rt, (void)conn, (void)state;
    again = 0;
    set_badge("up", "connected");
}

static void feed_message(lodger_runtime *rt, uint64_t conn, int32_t kind, const uint8_t *data,
                         size_t len, void *state)
{
    char text[32];

    (void)rt, (void)conn, (void)kind, (void)state;
    snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)data);
    if (price_count == PRICES)
        memmove(prices, prices + 1, (size_t)--price_count * sizeof(*prices));
    prices[price_count++] = g_ascii_strtod(text, NULL);
    gtk_widget_queue_draw(chart);
}

static void feed_gone(lodger_runtime *rt, uint64_t wait, int32_t reason, void *state)
{
    (void)rt, (void)reason, (void)state;
    again = g_get_monotonic_time() + (gint64)wait;
    set_badge("down", "");
}

static void subscribe(lodger_runtime *rt)
{
    static const uint32_t delays[] = { 100, 200, 400, 800, 1600, 3200 };
    lodger_ws_client_options options = { .size = sizeof(options), .attempts = -1 };
    lodger_ws_handler feed = { .size = sizeof(feed), .open = feed_open, .message = feed_message };

    options.url = getenv("LODGER_FEED");
    options.delays_ms = delays;
    options.delays_len = G_N_ELEMENTS(delays);
    options.jitter_percent = 10;
    options.on_retry = feed_gone;
    if (options.url && lodger_ws_connect(rt, &options, &feed, NULL, NULL) < 0)
        guest_die(options.url);
}

static void draw(GtkDrawingArea *area, cairo_t *cairo, int width, int height, gpointer data)
{
    double low = G_MAXDOUBLE, high = -G_MAXDOUBLE;

    (void)area, (void)data;
    for (int i = 0; i < price_count; i++) {
        low = MIN(low, prices[i]);
        high = MAX(high, prices[i]);
    }
    cairo_set_source_rgb(cairo, 0.0, 0.4, 1.0);
    cairo_set_line_width(cairo, 3.0);
    for (int i = 0; i < price_count; i++)
        cairo_line_to(cairo, (double)i * width / PRICES,
                      height - 6 - (prices[i] - low) / MAX(high - low, 0.01) * (height - 12));
    cairo_stroke(cairo);
}

static void leave(void *host)
{
    (void)host;
    lodger_glib_detach(&seat);
}

static gboolean tick(gpointer guest)
{
    if (again) {
        double left = (double)(again - g_get_monotonic_time()) / G_USEC_PER_SEC;
        char text[32];

        snprintf(text, sizeof(text), "retry in %.1f s", MAX(left, 0.0));
        gtk_label_set_text(GTK_LABEL(badge), text);
    }
    if (!guest_tick((struct guest *)guest))
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(main_loop);
    return G_SOURCE_REMOVE;
}

static void window(void)
{
    GtkWidget *window = gtk_window_new(), *content = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    GtkCssProvider *css = gtk_css_provider_new();

    gtk_css_provider_load_from_data(css,
        "window { background: #ffffff; }"
        ".badge { margin: 6px; padding: 4px 10px; background: #888888; color: #ffffff; }"
        ".badge.up { background: #008000; } .badge.down { background: #cc0000; }", -1);
    gtk_style_context_add_provider_for_display(gtk_widget_get_display(window),
                                               GTK_STYLE_PROVIDER(css),
                                               GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
    g_object_unref(css);
    badge = gtk_label_new("no feed");
    gtk_widget_set_halign(badge, GTK_ALIGN_START);
    gtk_widget_add_css_class(badge, "badge");
    chart = gtk_drawing_area_new();
    gtk_widget_set_vexpand(chart, TRUE);
    gtk_drawing_area_set_draw_func(GTK_DRAWING_AREA(chart), draw, NULL, NULL);
    gtk_box_append(GTK_BOX(content), badge);
    gtk_box_append(GTK_BOX(content), chart);
    gtk_window_set_child(GTK_WINDOW(window), content);
    gtk_window_set_default_size(GTK_WINDOW(window), 480, 240);
    g_signal_connect_swapped(window, "close-request", G_CALLBACK(g_main_loop_quit), main_loop);
    gtk_window_present(GTK_WINDOW(window));
}

int main(void)
{
    struct guest guest;
    char name[32];

    /* GIO keeps the thread that loads icons for 15 s, and now for good: so the checker can count. */
    g_thread_pool_set_max_idle_time(0);
    gtk_init();
    main_loop = g_main_loop_new(NULL, FALSE);
    snprintf(name, sizeof(name), "GTK %u.%u.%u", gtk_get_major_version(), gtk_get_minor_version(),
             gtk_get_micro_version());
    window();

    /* The guest: in GTK's loop until it leaves. */
    guest_start(&guest, name, leave, NULL);
    subscribe(guest.rt);
    /* Below GTK's drawing, which a guest under load would keep waiting otherwise. */
    seat = lodger_glib_attach(guest.rt, g_main_context_default(), G_PRIORITY_HIGH_IDLE + 30);
    if (!seat)
        guest_die("attaching");
    lodger_host(guest.rt, name);

    /* The host's own timer. */
    g_timeout_add(10, tick, &guest);
    g_main_loop_run(main_loop);

    lodger_glib_detach(&seat);
    g_main_loop_unref(main_loop);
    return lodger_free(guest.rt);
}
