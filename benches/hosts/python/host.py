"""The measured guest in asyncio or uvloop: host.py LIBRARY LOOP MODE [SECONDS]"""

import asyncio
import ctypes
import sys

library, kind, mode = sys.argv[1:4]
seconds = int(sys.argv[4]) if len(sys.argv) > 4 else 10
lib = ctypes.CDLL(library)
lib.bench_left.restype = ctypes.c_uint64
lib.bench_tick.argtypes = [ctypes.c_size_t]
lib.bench_begin.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
NOTHING, ATTACH, DETACH, STOP = range(4)


async def main():
    loop = asyncio.get_running_loop()
    selector = getattr(loop, "_selector", None)
    assert lib.bench_begin(mode.encode(), seconds) == 0, "there is no such mode"
    fd, act = -1, NOTHING
    while act != STOP:
        await asyncio.sleep(lib.bench_left() / 1e6)
        act = lib.bench_tick(len(selector.get_map()) if selector else 0)
        assert act >= 0
        if act == ATTACH:
            fd = lib.bench_fd()
            loop.add_reader(fd, lib.bench_dispatch)
        elif act == DETACH:
            loop.remove_reader(fd)
            lib.bench_forget()
    lib.bench_found()


if kind == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
