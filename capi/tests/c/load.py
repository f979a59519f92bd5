"""Loads the library and runs a timer of it: what a language without a C compiler needs."""

import ctypes
import select
import sys

lib = ctypes.CDLL(sys.argv[1])
TIMER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
lib.lodger_after.argtypes = [ctypes.c_void_p, ctypes.c_uint64, TIMER, ctypes.c_void_p]
lib.lodger_after.restype = ctypes.c_uint64
for name in ("fd", "dispatch", "free"):
    getattr(lib, f"lodger_{name}").argtypes = [ctypes.c_void_p]

rt = ctypes.c_void_p()
assert lib.lodger_new(None, ctypes.byref(rt)) == 0
fired = []


@TIMER
def raises(_rt, _user):
    raise RuntimeError("out of a callback")


assert lib.lodger_after(rt, 0, raises, None) != 0
on_timer = TIMER(lambda _rt, _user: fired.append(1))
assert lib.lodger_after(rt, 1000, on_timer, None) != 0
while not fired:
    select.select([lib.lodger_fd(rt)], [], [], 60)
    assert lib.lodger_dispatch(rt) >= 0
assert lib.lodger_free(rt) == 0
print("fired")
