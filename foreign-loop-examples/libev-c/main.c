/* lodger in libev's loop. */
#include <ev.h>

#include "guest.h"

static struct ev_loop *loop;
static ev_io watcher;

static void readable(struct ev_loop *l, ev_io *w, int revents)
{
    (void)l, (void)revents;
    lodger_dispatch((lodger_runtime *)w->data);
}

static void leave(void *host)
{
    (void)host;
    ev_io_stop(loop, &watcher);
}

static void tick(struct ev_loop *l, ev_timer *w, int revents)
{
    (void)revents;
    if (guest_tick((struct guest *)w->data))
        ev_break(l, EVBREAK_ALL);
}

int main(void)
{
    struct guest guest;
    ev_timer timer;
    char name[64];

    loop = ev_default_loop(0);
    snprintf(name, sizeof(name), "libev %d.%d", ev_version_major(), ev_version_minor());
    guest_start(&guest, name, leave, NULL);

    /* The guest: one descriptor, level-triggered. */
    ev_io_init(&watcher, readable, lodger_fd(guest.rt), EV_READ);
    watcher.data = guest.rt;
    ev_io_start(loop, &watcher);

    /* The host's own timer. */
    ev_timer_init(&timer, tick, 0.01, 0.01);
    timer.data = &guest;
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);

    ev_loop_destroy(loop);
    return lodger_free(guest.rt);
}
