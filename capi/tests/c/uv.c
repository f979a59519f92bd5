/* lodger-uv.h: several guests, leaving from inside, coming back, keep-alive, ends, leaks. */
#include <lodger-uv.h>

#include "glue.h"

static uv_loop_t loop;
static lodger_uv *guest;
static int fired, left, ticks;

static void fire(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
    fired++;
}

static void gone(void *data)
{
    CHECK(data == &left);
    left++;
}

static void leave(lodger_runtime *rt, void *user)
{
    (void)user;
    CHECK(lodger_after(rt, 0, fire, NULL) != 0);
    lodger_uv_detach(&guest, gone, &left);
    lodger_uv_detach(&guest, gone, &left);
    CHECK(!guest);
}

static void count(uv_timer_t *timer)
{
    if (++ticks == 20)
        uv_timer_stop(timer);
}

/* The host's own timer, to see that its loop goes on. */
static void host_ticks(void)
{
    uv_timer_t timer;

    ticks = 0;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, count, 1, 1);
    while (ticks < 20)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void cycles(void)
{
    lodger_runtime *rt = NULL;
    lodger_uv *mine = NULL;
    int before, i;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    before = descriptors();
    for (i = 0; i < 100; i++) {
        fired = left = 0;
        CHECK(lodger_uv_attach(rt, &loop, &mine) == 0);
        CHECK(lodger_after(rt, 0, fire, NULL) != 0);
        while (!fired)
            uv_run(&loop, UV_RUN_ONCE);
        lodger_uv_detach(&mine, gone, &left);
        while (!left)
            uv_run(&loop, UV_RUN_ONCE);
    }
    CHECK(descriptors() == before && left == 1);
    CHECK(lodger_free(rt) == LODGER_OK);
}

int main(void)
{
    lodger_runtime *one = NULL, *two = NULL;
    lodger_uv *other = NULL;
    int mark = 0;

    CHECK(uv_loop_init(&loop) == 0);
    loop.data = &mark;
    CHECK(lodger_new(NULL, &one) == LODGER_OK && lodger_new(NULL, &two) == LODGER_OK);
    CHECK(lodger_uv_attach(one, NULL, &guest) == LODGER_E_NULL);
    CHECK(lodger_uv_attach(one, &loop, &guest) == 0);
    CHECK(lodger_uv_attach(two, &loop, &other) == 0);

    CHECK(lodger_after(one, 0, fire, NULL) && lodger_after(two, 100, fire, NULL));
    while (fired < 2)
        uv_run(&loop, UV_RUN_ONCE);

    fired = 0;
    CHECK(lodger_after(one, 0, leave, NULL) != 0);
    while (!left)
        uv_run(&loop, UV_RUN_ONCE);
    host_ticks();
    CHECK(fired == 0 && left == 1);
    CHECK(lodger_uv_attach(one, &loop, &guest) == 0);
    while (!fired)
        uv_run(&loop, UV_RUN_ONCE);

    /* Freed while attached: it is found ended, and not looked at again. */
    CHECK(lodger_free(two) == LODGER_OK);
    host_ticks();
    lodger_uv_detach(&other, gone, &left);

    /* Without keep-alive the loop ends by itself, and with it does not. */
    lodger_uv_set_keep_alive(guest, 0);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    lodger_uv_set_keep_alive(guest, 1);
    CHECK(uv_loop_alive(&loop));
    lodger_uv_detach(&guest, gone, &left);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && left == 3);
    CHECK(lodger_free(one) == LODGER_OK);
    cycles();
    CHECK(loop.data == &mark && uv_loop_close(&loop) == 0);
    return 0;
}
