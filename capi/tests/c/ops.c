/* A host that watches each descriptor itself, in all three ways of reporting. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "rules.h"

/* A loop on epoll: the guest's descriptors, one timer, one eventfd to wake it. */
struct loop {
    int epoll, timer, wake, asked, watched;
    int32_t trigger;
};

static int done, answers;

static int control(struct loop *loop, int operation, int32_t fd, uint64_t token, int32_t want)
{
    struct epoll_event event = { 0, { .u64 = token } };

    if (want & LODGER_READ)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (want & LODGER_WRITE)
        event.events |= EPOLLOUT;
    if (loop->trigger == LODGER_EDGE)
        event.events |= EPOLLET;
    /* A fired or silent oneshot tells nothing, hang-up included. */
    if (loop->trigger == LODGER_ONESHOT || !want)
        event.events |= EPOLLONESHOT;
    return epoll_ctl(loop->epoll, operation, fd, &event) == 0 ? 0 : errno;
}

static int32_t watch(void *host, int32_t fd, uint64_t token, int32_t want)
{
    ((struct loop *)host)->watched++;
    return control(host, EPOLL_CTL_ADD, fd, token, want);
}

static int32_t rearm(void *host, int32_t fd, uint64_t token, int32_t want)
{
    CHECK(((struct loop *)host)->trigger != LODGER_EDGE);
    return control(host, EPOLL_CTL_MOD, fd, token, want);
}

static void unwatch(void *host, int32_t fd, uint64_t token)
{
    (void)token;
    ((struct loop *)host)->watched--;
    CHECK(epoll_ctl(((struct loop *)host)->epoll, EPOLL_CTL_DEL, fd, NULL) == 0);
}

static void set_timer(void *host, int64_t delay_us)
{
    struct itimerspec at;

    memset(&at, 0, sizeof(at));
    if (delay_us >= 0) {
        at.it_value.tv_sec = delay_us / 1000000;
        at.it_value.tv_nsec = delay_us % 1000000 * 1000 + 1;
    }
    CHECK(timerfd_settime(((struct loop *)host)->timer, 0, &at, NULL) == 0);
}

static lodger_runtime *under_test;

static void request_turn(void *host)
{
    ((struct loop *)host)->asked = 1;
    /* It may not call lodger, and is told so. */
    CHECK(lodger_dispatch(under_test) == LODGER_E_MISUSE);
}

static void wake(void *host)
{
    uint64_t one = 1;

    CHECK(write(((struct loop *)host)->wake, &one, sizeof(one)) == sizeof(one));
}

enum { TIMER = -1, WAKE = -2 };

static void add_own(struct loop *loop, int fd, int name)
{
    struct epoll_event event = { EPOLLIN, { .u64 = (uint64_t)(int64_t)name } };

    CHECK(fd >= 0 && epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void run_once(struct loop *loop, lodger_runtime *rt)
{
    struct epoll_event events[16];
    int wait = loop->asked ? 0 : 60000;
    int n = epoll_wait(loop->epoll, events, 16, wait), i;
    uint64_t count;

    CHECK(n > 0 || loop->asked);
    loop->asked = 0;
    for (i = 0; i < n; i++) {
        uint64_t token = events[i].data.u64;
        uint32_t what = events[i].events;
        int32_t ready = (what & (EPOLLIN | EPOLLRDHUP) ? LODGER_READ : 0) |
                        (what & EPOLLOUT ? LODGER_WRITE : 0);

        if (token == (uint64_t)(int64_t)TIMER) {
            CHECK(read(loop->timer, &count, sizeof(count)) == sizeof(count));
            CHECK(lodger_fired(rt) == LODGER_OK);
        } else if (token == (uint64_t)(int64_t)WAKE) {
            CHECK(read(loop->wake, &count, sizeof(count)) == sizeof(count));
        } else {
            if (what & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
                ready = LODGER_READ | LODGER_WRITE | LODGER_HUP;
            CHECK(lodger_report(rt, token, ready) == LODGER_OK);
        }
    }
    CHECK(lodger_dispatch(rt) >= 0);
}

static void serve(struct loop *loop, lodger_runtime *rt)
{
    for (done = 0; !done;)
        run_once(loop, rt);
}

static void finish(lodger_runtime *rt, void *user)
{
    (void)rt, (void)user;
    done = 1;
}

static void value(lodger_runtime *rt, void *pointer, void *user)
{
    CHECK(pointer == &answers);
    finish(rt, user);
}

static void *post(void *remote)
{
    CHECK(lodger_remote_post(remote, &answers) == LODGER_OK);
    return NULL;
}

static void hello(lodger_runtime *rt, const lodger_request *request, lodger_response *response,
                  void *user)
{
    static char body[300000];

    (void)rt, (void)request, (void)user;
    memset(body, 'x', sizeof(body));
    CHECK(lodger_respond(response, "text/plain", body, sizeof(body)) == LODGER_OK);
}

static void fetched(lodger_runtime *rt, int32_t reason, uint16_t status, const uint8_t *body,
                    size_t len, void *user)
{
    (void)rt, (void)user;
    CHECK(reason == LODGER_REASON_DONE && status == 200 && len == 300000 && body[len - 1] == 'x');
    answers++;
    done = 1;
}

static void run(int32_t trigger)
{
    struct loop loop = { epoll_create1(EPOLL_CLOEXEC), timerfd_create(CLOCK_MONOTONIC, 0),
                         eventfd(0, 0), 0, 0, trigger };
    lodger_ops ops = { sizeof(ops), trigger, 100, "the test's epoll", watch, rearm,
                       unwatch, set_timer, request_turn, wake };
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = NULL;
    lodger_remote *remote = NULL;
    pthread_t thread;
    char base[64];
    int i;

    add_own(&loop, loop.timer, TIMER);
    add_own(&loop, loop.wake, WAKE);
    CHECK(lodger_new_on(NULL, &ops, &loop, &rt) == LODGER_OK);
    under_test = rt;
    CHECK(lodger_fd(rt) == LODGER_E_MISUSE);
    CHECK(lodger_server_route(server, "GET", "/", hello, NULL) == LODGER_OK);
    listen_url(rt, server, "http", base, sizeof(base));
    CHECK(loop.watched == 0);
    CHECK(lodger_attach(rt) == LODGER_OK && loop.watched == 1);
    CHECK(lodger_attach(rt) == LODGER_OK && loop.watched == 1);

    for (i = 0; i < 20; i++) {
        CHECK(lodger_fetch(rt, "GET", base, NULL, 0, 1000000, fetched, NULL) == LODGER_OK);
        serve(&loop, rt);
    }
    CHECK(lodger_after(rt, 2000, finish, NULL) != 0);
    serve(&loop, rt);
    CHECK(lodger_remote_new(rt, value, NULL, NULL, &remote) == LODGER_OK);
    CHECK(pthread_create(&thread, NULL, post, remote) == 0);
    serve(&loop, rt);
    CHECK(pthread_join(thread, NULL) == 0);
    lodger_remote_free(remote);

    /* Out, and nothing of it is left in the loop; and back. */
    CHECK(lodger_detach(rt) == LODGER_OK && loop.watched == 0);
    CHECK(lodger_fetch(rt, "GET", base, NULL, 0, 1000000, fetched, NULL) == LODGER_OK);
    CHECK(lodger_dispatch(rt) == 0 && loop.watched == 0);
    CHECK(lodger_attach(rt) == LODGER_OK && loop.watched >= 1);
    serve(&loop, rt);
    CHECK(lodger_run(rt) == LODGER_E_SYSTEM);
    CHECK(lodger_free(rt) == LODGER_OK && loop.watched == 0);
    close(loop.epoll), close(loop.timer), close(loop.wake);
}

int main(void)
{
    lodger_runtime *rt = NULL;
    lodger_ops ops;

    memset(&ops, 0, sizeof(ops));
    CHECK(lodger_new_on(NULL, NULL, NULL, &rt) == LODGER_E_NULL);
    CHECK(lodger_new_on(NULL, &ops, NULL, &rt) == LODGER_E_SIZE);
    ops.size = sizeof(ops);
    CHECK(lodger_new_on(NULL, &ops, NULL, &rt) == LODGER_E_NULL && !rt);
    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_report(rt, 1, LODGER_READ) == LODGER_E_MISUSE);
    CHECK(lodger_fired(rt) == LODGER_E_MISUSE);
    CHECK(lodger_free(rt) == LODGER_OK);
    run(LODGER_LEVEL);
    run(LODGER_EDGE);
    run(LODGER_ONESHOT);
    CHECK(answers == 63);
    return 0;
}
