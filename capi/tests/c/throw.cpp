// A callback that throws. LODGER_NOEXCEPT is there in C++ 17: this does not compile then.
#include <cstdio>
#include <poll.h>
#include <stdexcept>

#include <lodger.h>

static void thrower(lodger_runtime *, void *)
{
    throw std::runtime_error("out of a callback");
}

int main()
{
    lodger_runtime *rt = nullptr;
    if (lodger_new(nullptr, &rt) < 0 || !lodger_after(rt, 0, thrower, nullptr))
        return 2;
    for (int i = 0; i < 100; i++) {
        pollfd p = { lodger_fd(rt), POLLIN, 0 };
        poll(&p, 1, 1000);
        lodger_dispatch(rt);
    }
    std::puts("went on");
    return 3;
}
