/* lodger in libevent's loop. */
#include <event2/event.h>

#include "guest.h"

static struct event *watcher;
static struct event_base *base;

static void readable(evutil_socket_t fd, short what, void *rt)
{
    (void)fd, (void)what;
    lodger_dispatch((lodger_runtime *)rt);
}

static void leave(void *host)
{
    (void)host;
    event_del(watcher);
}

static void tick(evutil_socket_t fd, short what, void *guest)
{
    (void)fd, (void)what;
    if (guest_tick((struct guest *)guest))
        event_base_loopbreak(base);
}

int main(void)
{
    const struct timeval period = { 0, 10000 };
    struct guest guest;
    struct event *timer;
    char name[64];

    base = event_base_new();
    snprintf(name, sizeof(name), "libevent %s (%s)", event_get_version(),
             event_base_get_method(base));
    guest_start(&guest, name, leave, NULL);

    /* The guest: one descriptor, level-triggered. */
    watcher = event_new(base, lodger_fd(guest.rt), EV_READ | EV_PERSIST, readable, guest.rt);
    event_add(watcher, NULL);

    /* The host's own timer. */
    timer = event_new(base, -1, EV_PERSIST, tick, &guest);
    event_add(timer, &period);
    event_base_dispatch(base);

    event_free(watcher);
    event_free(timer);
    event_base_free(base);
    return lodger_free(guest.rt);
}
