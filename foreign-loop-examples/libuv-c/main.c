/* lodger in libuv's loop. */
#include <lodger-uv.h>

#include "guest.h"

static lodger_uv *seat;

static void leave(void *host)
{
    (void)host;
    lodger_uv_detach(&seat, NULL, NULL);
}

static void tick(uv_timer_t *timer)
{
    if (guest_tick((struct guest *)timer->data))
        uv_close((uv_handle_t *)timer, NULL);
}

int main(void)
{
    uv_loop_t loop;
    uv_timer_t timer;
    struct guest guest;

    uv_loop_init(&loop);
    guest_start(&guest, "libuv", leave, NULL);

    /* The guest. */
    if (lodger_uv_attach(guest.rt, &loop, &seat) < 0)
        guest_die("attaching");

    /* The host's own timer. */
    uv_timer_init(&loop, &timer);
    timer.data = &guest;
    uv_timer_start(&timer, tick, 10, 10);
    uv_run(&loop, UV_RUN_DEFAULT);

    /* The loop has ended because nothing is left in it: closing it would say so otherwise. */
    if (uv_loop_close(&loop) != 0)
        return 1;
    return lodger_free(guest.rt);
}
