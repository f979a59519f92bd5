"""The ten laws of a guest and flow control in asyncio's loop or uvloop's, each in a process of its own:
run.py LIBRARY [uvloop]

In two ways: the loop watches the guest's one descriptor, or each of its descriptors, by a table of
operations.
"""

import asyncio
import ctypes
import errno
import math
import subprocess
import sys
from ctypes import CFUNCTYPE, c_char_p, c_int, c_int64, c_uint64, c_void_p

LAWS = """law_1_idle_means_no_wakeups law_2_a_turn_is_bounded law_3_a_callback_may_run_the_host_again
law_4_detaching_leaves_the_loop_as_it_was law_5_a_cancelled_timer_never_runs
law_6_a_short_timer_is_late_by_microseconds law_7_a_waker_works_from_any_thread
law_8_a_reused_number_is_nobody_elses law_9_a_paused_reader_costs_nothing
law_10_nothing_is_added_to_the_process flow_control""".split()
ADAPTOR = ["several_guests_share_a_loop", "a_hundred_stays_leave_nothing"]

ASKED = CFUNCTYPE(c_int, c_void_p)
OPERATIONS = {
    "run": CFUNCTYPE(c_int, c_uint64, ASKED, c_void_p),
    "after": CFUNCTYPE(None, c_uint64, c_uint64),
    "sources": CFUNCTYPE(c_int64),
    "enter": CFUNCTYPE(c_int, c_int, c_uint64),
    "leave": CFUNCTYPE(None, c_int),
    "watch": CFUNCTYPE(c_int, c_int, c_uint64, c_int),
    "timer": CFUNCTYPE(None, c_int64),
    "turn": CFUNCTYPE(None),
    "wake": CFUNCTYPE(None),
}


class Operations(ctypes.Structure):
    _fields_ = list(OPERATIONS.items())


class Host:
    """A loop, as the kit in `lib` drives it: the fields of Operations are methods of this."""

    def __init__(self, lib, loop):
        self.lib, self.loop = lib, loop
        self.check = lambda: None  # asks whether the run under way is over
        self.timed = None
        self.asked = False
        self.watched = {}
        # What C calls must not be collected.
        self.operations = Operations(*(kind(getattr(self, name)) for name, kind in OPERATIONS.items()))

    def run(self, limit, asked, data):
        over = False

        def check():
            nonlocal over
            if not over and asked(data):
                over = True
                self.loop.stop()

        if asked(data):
            return 1
        end = self.loop.call_later(limit / 1e6, self.loop.stop)
        self.check = check
        self.loop.run_forever()
        self.check = lambda: None
        end.cancel()
        return over

    def after(self, delay, number):
        def fire():
            self.lib.suite_fire(number)
            self.check()

        if delay:
            self.loop.call_later(delay / 1e6, fire)
        else:
            self.loop.call_soon(fire)

    def sources(self):
        selector = getattr(self.loop, "_selector", None)
        return -1 if selector is None else len(selector.get_map())

    def enter(self, fd, number):
        def readable():
            assert self.lib.suite_dispatch(number) == 0
            self.check()

        return self._try(lambda: self.loop.add_reader(fd, readable))

    def leave(self, fd):
        self.loop.remove_reader(fd)

    def watch(self, fd, token, want):
        had = self.watched.pop(fd, 0)

        def ready(bit):
            self.lib.suite_report(token, bit)
            self.turn()

        def change():
            for bit, add, remove in ((1, self.loop.add_reader, self.loop.remove_reader),
                                     (2, self.loop.add_writer, self.loop.remove_writer)):
                if want & bit:
                    add(fd, ready, bit)
                elif had & bit:
                    remove(fd)

        error = self._try(change)
        if want and not error:
            self.watched[fd] = want
        return error

    def timer(self, delay):
        def fired():
            self.lib.suite_fired()
            self._turn()

        if self.timed:
            self.timed.cancel()
        # Loops of whole milliseconds would take less for nothing.
        self.timed = None if delay < 0 else self.loop.call_later(math.ceil(delay / 1000) / 1000, fired)

    def turn(self):
        if not self.asked:
            self.asked = True
            self.loop.call_soon(self._turn)

    def wake(self):
        if not self.asked:
            self.asked = True
            try:
                self.loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                pass  # the loop has been closed

    def _turn(self):
        self.asked = False
        assert self.lib.suite_turn() == 0
        self.check()

    @staticmethod
    def _try(change):
        try:
            change()
            return 0
        except OSError as error:
            return error.errno or errno.EIO


def one(library, kind, way, law):
    if kind == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    # What a loop opens at first is its own.
    loop.call_soon(loop.stop)
    loop.run_forever()
    lib = ctypes.CDLL(library)
    lib.suite_run.argtypes = [ctypes.POINTER(Operations), c_char_p, c_char_p, c_char_p, ctypes.c_size_t]
    lib.suite_fire.argtypes = lib.suite_dispatch.argtypes = [c_uint64]
    lib.suite_report.argtypes = [c_uint64, c_int]
    host, text = Host(lib, loop), ctypes.create_string_buffer(4096)
    code = lib.suite_run(host.operations, way.encode(), law.encode(), text, len(text))
    print(text.value.decode().rstrip())
    loop.close()
    lib.suite_fired()
    host.wake()
    return code


def every(library, kind):
    jobs = [(way, law) for way in ("nested", "table") for law in LAWS]
    jobs += [("nested", law) for law in ADAPTOR]
    failed = 0
    for way, law in jobs:
        command = [sys.executable, __file__, library, kind, way, law]
        try:
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            good, said = result.returncode == 0, result.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired:
            good, said = False, "still running after 60 s"
        failed += not good
        print(f"{way}::{law} ... {'ok' if good else 'FAILED'}\n{said.rstrip()}", flush=True)
    print(f"{len(jobs) - failed} passed, {failed} failed")
    return failed != 0


words = sys.argv[1:]
sys.exit(one(*words) if len(words) == 4 else every(words[0], words[1] if len(words) > 1 else "asyncio"))
