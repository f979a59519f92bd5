/* lodger-uv.h: several guests, leaving from inside, coming back, keep-alive, ends, leaks. */
#include <lodger-uv.h>

#include "glue.h"

static uv_loop_t loop;
static lodger_uv *guest;
static int fired, left, ticks, dialogs;

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

/* The loop that runs inside the callback serves a timer that was due with it and one that is due soon,
   though the outer turn has taken their alarm. The runtime is told of that loop, or not: libuv asks
   it before it blocks. */
static void dialog(lodger_runtime *rt, void *announced)
{
    CHECK(fired == 0);
    CHECK(!announced || lodger_modal_begin(rt) == LODGER_OK);
    while (fired < 2)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK(!announced || lodger_modal_end(rt) == LODGER_OK);
    dialogs++;
}

/* Ends the runtime inside its own turn, and has the loop forget it before that turn returns. */
static void vanish(lodger_runtime *rt, void *mine)
{
    int i;

    CHECK(lodger_free(rt) == LODGER_OK);
    lodger_uv_detach((lodger_uv **)mine, gone, &left);
    for (i = 0; i < 10; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    CHECK(left == 0);
}

static void modal_loops(void)
{
    lodger_runtime *rt = NULL;
    lodger_uv *mine = NULL;

    left = 0;
    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_uv_attach(rt, &loop, &mine) == 0);
    fired = 0;
    CHECK(lodger_after(rt, 0, dialog, &dialogs) != 0 && lodger_after(rt, 0, fire, NULL) != 0);
    CHECK(lodger_after(rt, 20000, fire, NULL) != 0);
    while (dialogs < 1)
        uv_run(&loop, UV_RUN_ONCE);
    fired = 0;
    CHECK(lodger_after(rt, 0, dialog, NULL) != 0 && lodger_after(rt, 0, fire, NULL) != 0);
    CHECK(lodger_after(rt, 20000, fire, NULL) != 0);
    while (dialogs < 2)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK(lodger_after(rt, 0, vanish, &mine) != 0);
    while (!left)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK(left == 1 && !mine);
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

/* The host has closed our descriptor, which libuv watches by now: else libuv ends the process. The kernel
   forgets it and tells nobody: the guest is silent, the loop goes on, and lets it go. */
static void closed_under_us(void)
{
    lodger_runtime *rt = NULL;
    lodger_uv *mine = NULL;

    left = fired = 0;
    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_uv_attach(rt, &loop, &mine) == 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    CHECK(close(lodger_fd(rt)) == 0);
    host_ticks();
    lodger_uv_detach(&mine, gone, &left);
    while (!left)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK(lodger_free(rt) == LODGER_OK && fired == 0);
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
    modal_loops();
    closed_under_us();
    CHECK(loop.data == &mark && uv_loop_close(&loop) == 0);
    return 0;
}
