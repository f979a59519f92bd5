"""The laws of a guest, counted, in asyncio's loop or uvloop's: laws.py [uvloop]

What the conformance kit asserts of Rust's hosts, as far as it can be seen through lodger.h.
"""

import asyncio
import ctypes
import os
import socket
import sys
import threading
import time

import lodger
from lodger import POINTER, byref, c_uint64, c_void_p

TIMER = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
VALUE = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
after = lodger._declare("after", c_void_p, c_uint64, TIMER, c_void_p, result=c_uint64)
cancel = lodger._declare("cancel", c_void_p, c_uint64)
now = lodger._declare("now", c_void_p, result=c_uint64)
detach = lodger._declare("detach", c_void_p)
attach = lodger._declare("attach", c_void_p)
pause = lodger._declare("pause", c_void_p, c_uint64, ctypes.c_int)
remote_new = lodger._declare("remote_new", c_void_p, VALUE, c_void_p, c_void_p, POINTER(c_void_p))
remote_post = lodger._declare("remote_post", c_void_p, c_void_p)
remote_free = lodger._declare("remote_free", c_void_p, result=None)
dispatch = lodger._declare("dispatch", c_void_p)

WINDOW = 1.0


class Stats(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [(name, c_uint64) for name in (
        "turns", "wakes", "nested", "accepted", "open", "aborted", "requests", "messages",
        "received", "sent", "timers")]


stats_get = lodger._declare("stats_get", c_void_p, POINTER(Stats))


class Counted(lodger.Runtime):
    """Counts the host's calls, and what each of them does."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.most = 0

    def stats(self):
        stats = Stats(ctypes.sizeof(Stats))
        assert stats_get(self._rt, byref(stats)) == 0
        return stats

    def _dispatch(self):
        self.calls += 1
        before = self.stats().messages
        super()._dispatch()
        if self._rt:
            self.most = max(self.most, self.stats().messages - before)

    def after(self, micros, f):
        timer = after(self._rt, micros, self._keep(TIMER(lambda _rt, _user: f())), None)
        assert timer != 0
        return timer


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def guest(loop):
    rt = Counted()
    rt.attach(loop, "the laws")
    return rt


async def idle_means_no_wakeups(loop):
    rt = guest(loop)
    rt.listen("127.0.0.1:0")
    rt.after(0, lambda: None)
    await asyncio.sleep(0.05)
    before = rt.calls
    await asyncio.sleep(WINDOW)
    # One spurious wakeup in all is allowed.
    assert rt.calls <= before + 1, rt.calls - before
    rt.close()


async def a_dispatch_is_bounded(loop):
    server, clients, opened = guest(loop), guest(loop), []
    server.echo("/")
    address = server.listen("127.0.0.1:0")
    handler = clients._handler(opened.append, lambda *_: None, lambda *_: None)
    url = f"ws://{address}/".encode()
    options = lodger.WsClientOptions(ctypes.sizeof(lodger.WsClientOptions), url)
    for _ in range(200):
        assert lodger._ws_connect(clients._rt, byref(options), byref(handler), None, None) == 0
    await until(lambda: len(opened) == 200)
    server.most = 0
    for conn in opened:
        assert lodger._ws_send(clients._rt, conn, 1, b"x", 1) == 0
    await until(lambda: server.stats().messages == 200)
    assert 0 < server.most <= 64, server.most
    clients.close()
    server.close()


async def a_dispatch_may_be_entered_again(loop):
    rt, seen = guest(loop), []

    def outer():
        rt.after(0, lambda: seen.append("inner"))
        # A delay of 0 is the next turn: this one.
        dispatch(rt._rt)
        dispatch(rt._rt)
        seen.append("outer")

    rt.after(0, outer)
    await until(lambda: "outer" in seen)
    assert seen == ["inner", "outer"] and rt.stats().nested >= 1
    rt.close()


async def detached_it_is_silent_and_comes_back(loop):
    rt, seen = guest(loop), []

    def leave():
        rt.detach()
        detach(rt._rt)
        seen.append("left")

    rt.after(0, leave)
    rt.after(0, lambda: seen.append("late"))
    await until(lambda: seen)
    calls = rt.calls
    await asyncio.sleep(0.05)
    assert seen == ["left"] and rt.calls == calls
    assert attach(rt._rt) == 0
    rt.attach(loop, "again")
    await until(lambda: len(seen) == 2)
    rt.close()


async def a_hundred_stays_leave_nothing(loop):
    rt, fired = Counted(), []
    before = len(os.listdir("/proc/self/fd"))
    for stay in range(100):
        rt.attach(loop, "a stay")
        rt.after(0, lambda: fired.append(1))
        await until(lambda: len(fired) == stay + 1)
        rt.detach()
    assert len(os.listdir("/proc/self/fd")) == before
    rt.close()


async def a_cancelled_timer_never_runs(loop):
    rt, seen, timers = guest(loop), [], []

    def first():
        seen.append(1)
        assert cancel(rt._rt, timers[1]) == 0

    timers += [rt.after(2000, first), rt.after(2000, lambda: seen.append(2))]
    rt.after(10000, lambda: seen.append(3))
    time.sleep(0.005)  # both are due in the same turn
    await until(lambda: 3 in seen)
    assert seen == [1, 3]
    rt.close()


async def no_timer_is_early(loop):
    rt, early, left = guest(loop), [], 200

    def arm():
        nonlocal left
        asked = now(rt._rt)

        def fired():
            nonlocal left
            left -= 1
            if now(rt._rt) - asked < 250:
                early.append(left)
            if left:
                arm()

        rt.after(250, fired)

    arm()
    await until(lambda: left == 0)
    assert not early
    rt.close()


async def values_of_other_threads_wake_it(loop):
    rt, seen, remote = guest(loop), [], c_void_p()
    take = VALUE(lambda _rt, value, _user: seen.append(value))
    assert remote_new(rt._rt, take, None, None, byref(remote)) == 0
    await asyncio.sleep(0.02)
    before = rt.stats().wakes
    poster = threading.Thread(target=lambda: [remote_post(remote, n) for n in range(1, 1001)])
    poster.start()
    poster.join()  # the loop stands still meanwhile, so that the posts are one wake
    await until(lambda: len(seen) == 1000)
    assert seen == list(range(1, 1001))
    # 64 values a turn, and not a wake for each.
    assert rt.stats().wakes - before <= 20, rt.stats().wakes - before
    rt.close()
    assert remote_post(remote, 1) < 0
    remote_free(remote)


async def a_paused_reader_costs_nothing(loop):
    rt, opened = guest(loop), []
    handler = rt._handler(opened.append, lambda *_: None, lambda *_: None)
    assert lodger._server_ws(rt._server, b"/", byref(handler), None, None) == 0
    host, port = rt.listen("127.0.0.1:0").rsplit(":", 1)
    peer = socket.create_connection((host, int(port)))
    peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    await until(lambda: opened)
    assert pause(rt._rt, opened[0], 1) == 0
    peer.sendall(b"\x82\x81\0\0\0\0x" * 1000)
    await asyncio.sleep(0.05)
    calls, messages = rt.calls, rt.stats().messages
    await asyncio.sleep(WINDOW)
    assert rt.calls <= calls + 1, rt.calls - calls
    assert pause(rt._rt, opened[0], 0) == 0
    await until(lambda: rt.stats().messages == 1000)
    assert messages < 1000
    peer.close()
    rt.close()


async def a_descriptor_closed_under_us_harms_nobody(loop):
    rt, others = guest(loop), guest(loop)
    seen = []
    await asyncio.sleep(0.01)  # by now the loop has asked the kernel to watch it
    os.close(lodger._fd(rt._rt))
    others.after(1000, lambda: seen.append(1))
    await until(lambda: seen)
    rt.detach()
    rt.close()
    others.close()


async def no_thread_is_added(loop):
    before = len(os.listdir("/proc/self/task"))
    rt = guest(loop)
    rt.live("/", "/live")
    rt.listen("127.0.0.1:0")
    await asyncio.sleep(0.02)
    assert len(os.listdir("/proc/self/task")) == before
    rt.close()


LAWS = [idle_means_no_wakeups, a_dispatch_is_bounded, a_dispatch_may_be_entered_again,
        detached_it_is_silent_and_comes_back, a_hundred_stays_leave_nothing,
        a_cancelled_timer_never_runs, no_timer_is_early, values_of_other_threads_wake_it,
        a_paused_reader_costs_nothing, no_thread_is_added,
        a_descriptor_closed_under_us_harms_nobody]


async def main():
    loop = asyncio.get_running_loop()
    for law in LAWS:
        await asyncio.wait_for(law(loop), 120)
    print(f"{len(LAWS)} laws in {type(loop).__module__}")


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
