/* lodger in a loop of one's own: the program polls its descriptors, and the guest's is one more. */
#include <poll.h>
#include <time.h>

#include "guest.h"

static void leave(void *fd)
{
    *(int *)fd = -1; /* poll() skips it */
}

static long milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void)
{
    struct guest guest;
    struct pollfd watched = { -1, POLLIN, 0 };
    long next = milliseconds();

    guest_start(&guest, "poll(2)", leave, &watched.fd);
    watched.fd = lodger_fd(guest.rt);
    for (;;) {
        long wait = next - milliseconds();

        if (wait <= 0) {
            next += 10;
            if (guest_tick(&guest))
                break;
        } else if (poll(&watched, 1, (int)wait) > 0) {
            lodger_dispatch(guest.rt);
        }
    }
    return lodger_free(guest.rt);
}
