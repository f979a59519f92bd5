/* lodger in systemd's loop, on a socket that systemd may have opened. */
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "guest.h"

static sd_event_source *watcher;

static int readable(sd_event_source *source, int fd, uint32_t revents, void *rt)
{
    (void)source, (void)fd, (void)revents;
    return lodger_dispatch((lodger_runtime *)rt);
}

static void leave(void *host)
{
    (void)host;
    sd_event_source_set_enabled(watcher, SD_EVENT_OFF);
}

static int tick(sd_event_source *timer, uint64_t late, void *guest)
{
    (void)late;
    if (guest_tick((struct guest *)guest))
        return sd_event_exit(sd_event_source_get_event(timer), 0);
    sd_event_source_set_time_relative(timer, 10000);
    return sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

int main(void)
{
    int inherited = sd_listen_fds(1);
    sd_event *event = NULL;
    struct guest guest;
    int status;

    sd_event_default(&event);
    guest_prepare(&guest, "sd-event (systemd)", leave, NULL);
    guest_listen(&guest, inherited > 0 ? SD_LISTEN_FDS_START : -1);

    /* The guest: one descriptor, level-triggered. */
    sd_event_add_io(event, &watcher, lodger_fd(guest.rt), EPOLLIN, readable, guest.rt);

    /* The host's own timer. */
    sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, 10000, 1, tick, &guest);
    sd_notify(0, "READY=1");
    status = sd_event_loop(event);

    sd_event_source_unref(watcher);
    sd_event_unref(event);
    lodger_free(guest.rt);
    return status;
}
