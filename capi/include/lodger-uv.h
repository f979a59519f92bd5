/*
 * A lodger runtime in a libuv loop.
 *
 *     lodger_uv *guest;
 *     if (lodger_uv_attach(rt, loop, &guest) < 0) fprintf(stderr, "%s\n", lodger_last_error());
 *     ...
 *     lodger_uv_detach(&guest, NULL, NULL);
 *
 * Compiled with your program, against your libuv; liblodger itself knows none. All on the thread
 * that runs the loop and made the runtime. Never touches loop->data.
 */
#ifndef LODGER_UV_H
#define LODGER_UV_H

#include <stdlib.h>

#include <lodger.h>
#include <uv.h>

/** A runtime in a loop. */
typedef struct lodger_uv {
    lodger_runtime *rt;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_timer_t timer;
    /* Turns on the stack. */
    int depth;
    /* Handles that libuv has, and turns on the stack. */
    int open;
    void (*done)(void *data);
    void *data;
} lodger_uv;

/* The memory stays until libuv has closed the last handle, and the last turn has returned: a modal
   loop in a turn may close them all. */
static inline void lodger_uv_release(lodger_uv *self)
{
    if (--self->open > 0)
        return;
    lodger_unref(self->rt);
    if (self->done)
        self->done(self->data);
    free(self);
}

static inline void lodger_uv_closed(uv_handle_t *handle)
{
    lodger_uv_release((lodger_uv *)handle->data);
}

static inline void lodger_uv_stop(lodger_uv *self)
{
    if (uv_is_closing((uv_handle_t *)&self->poll))
        return;
    uv_poll_stop(&self->poll);
    uv_prepare_stop(&self->prepare);
    uv_timer_stop(&self->timer);
}

/* A runtime that was ended, or whose queue has failed, is not looked at again. */
static inline void lodger_uv_turn(lodger_uv *self)
{
    int32_t turn;

    self->open++;
    self->depth++;
    turn = lodger_dispatch(self->rt);
    self->depth--;
    if (turn < 0)
        lodger_uv_stop(self);
    lodger_uv_release(self);
}

static inline void lodger_uv_readable(uv_poll_t *poll, int status, int events)
{
    lodger_uv *self = (lodger_uv *)poll->data;

    (void)events;
    if (status < 0)
        lodger_uv_stop(self);
    else
        lodger_uv_turn(self);
}

static inline void lodger_uv_due(uv_timer_t *timer)
{
    lodger_uv_turn((lodger_uv *)timer->data);
}

/* Before the loop blocks: a turn that the descriptor may not announce. An outer turn may have emptied
   it before a modal loop blocks on it, and a modal loop that was not announced finds the runtime's
   own alarm unset. */
static inline void lodger_uv_before(uv_prepare_t *prepare)
{
    lodger_uv *self = (lodger_uv *)prepare->data;
    int64_t micros = -1;

    if (lodger_pending(self->rt) == 1)
        micros = 0;
    else if (self->depth > 0)
        micros = lodger_next_deadline(self->rt);
    if (micros >= 0)
        uv_timer_start(&self->timer, lodger_uv_due, (uint64_t)(micros + 999) / 1000, 0);
}

/**
 * Takes the runtime out of its loop and sets `*guest` to NULL; nothing happens if it is. No callback
 * of the runtime follows, also when called from inside one. `done` (which may be NULL) is called
 * with `data` once libuv has closed the handles, in a later iteration, and the callback that it was
 * called from has returned; the runtime may be attached again at once.
 */
static inline void lodger_uv_detach(lodger_uv **guest, void (*done)(void *data), void *data)
{
    lodger_uv *self = *guest;

    if (!self)
        return;
    *guest = NULL;
    self->done = done;
    self->data = data;
    lodger_detach(self->rt);
    uv_close((uv_handle_t *)&self->poll, lodger_uv_closed);
    uv_close((uv_handle_t *)&self->prepare, lodger_uv_closed);
    uv_close((uv_handle_t *)&self->timer, lodger_uv_closed);
}

/**
 * Puts the runtime into `loop` and keeps a reference to it. Gives 0 and writes `*guest`, or a
 * negative error of lodger's or libuv's. Legal inside a callback of the loop.
 */
static inline int lodger_uv_attach(lodger_runtime *rt, uv_loop_t *loop, lodger_uv **guest)
{
    char name[64] = "libuv ";
    const char *version = uv_version_string();
    size_t i;
    int error = lodger_attach(rt);
    lodger_uv *self;

    if (error < 0)
        return error;
    if (!loop || !guest)
        return LODGER_E_NULL;
    self = (lodger_uv *)calloc(1, sizeof(*self));
    if (!self)
        return UV_ENOMEM;
    self->rt = rt;
    self->poll.data = self;
    self->prepare.data = self;
    self->timer.data = self;
    error = uv_poll_init(loop, &self->poll, lodger_fd(rt));
    if (error < 0) {
        free(self);
        return error;
    }
    lodger_ref(rt);
    self->open = 3;
    uv_prepare_init(loop, &self->prepare);
    uv_prepare_start(&self->prepare, lodger_uv_before);
    uv_timer_init(loop, &self->timer);
    /* The poll handle alone keeps the loop running. */
    uv_unref((uv_handle_t *)&self->prepare);
    uv_unref((uv_handle_t *)&self->timer);
    error = uv_poll_start(&self->poll, UV_READABLE, lodger_uv_readable);
    if (error < 0) {
        lodger_uv_detach(&self, NULL, NULL);
        return error;
    }
    for (i = 6; version[i - 6] && i + 1 < sizeof(name); i++)
        name[i] = version[i - 6];
    lodger_host(rt, name);
    *guest = self;
    return 0;
}

/** Sets whether the guest keeps the loop running (`on` not 0, as at first). */
static inline void lodger_uv_set_keep_alive(lodger_uv *guest, int on)
{
    if (on)
        uv_ref((uv_handle_t *)&guest->poll);
    else
        uv_unref((uv_handle_t *)&guest->poll);
}

#endif
