"""lodger in asyncio's loop, or in uvloop's: main.py [uvloop] [--tls CERTIFICATE KEY]"""

import argparse
import asyncio
import os
import platform
import sys

import lodger


class Guest:
    def __init__(self, tls):
        self.ticks = self.messages = 0
        self.connected = False
        self.left_at = None
        self.rt = rt = lodger.Runtime()
        rt.echo("/echo")
        rt.get("/ticks", lambda: str(self.ticks))
        rt.get("/feed", lambda: f"{self.messages} {'connected' if self.connected else 'waiting'}")
        rt.get("/detach", self.leave)
        rt.live("/_lodger", "/")
        if tls:
            rt.tls(*tls)
        address = rt.listen(os.environ.get("LODGER_LISTEN", "127.0.0.1:0"))
        if "LODGER_FEED" in os.environ:
            rt.subscribe(os.environ["LODGER_FEED"], self.feed_open, self.feed_message, self.feed_closed)
        print(f"listening on {'https' if tls else 'http'}://{address}", flush=True)

    def leave(self):
        self.rt.detach()
        self.left_at = self.ticks
        return "bye"

    def feed_open(self):
        self.connected = True

    def feed_message(self, _data):
        self.messages += 1

    def feed_closed(self):
        self.connected = False


async def main(tls):
    loop = asyncio.get_running_loop()
    name = "uvloop" if type(loop).__module__.startswith("uvloop") else "asyncio"
    guest = Guest(tls)
    guest.rt.attach(loop, f"{name} (CPython {platform.python_version()})")

    # The host's own timer.
    next_tick = loop.time()
    while guest.left_at is None or guest.ticks < guest.left_at + 100:
        next_tick += 0.01
        await asyncio.sleep(max(0, next_tick - loop.time()))
        guest.ticks += 1
    guest.rt.close()
    print(f"100 more ticks, {len(os.listdir('/proc/self/task'))} threads", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("loop", nargs="?", choices=["uvloop"])
pem = [os.environ[name] for name in ("LODGER_CERTIFICATE", "LODGER_KEY") if name in os.environ]
parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), default=pem, help="PEM files: serve https")
options = parser.parse_args()
if options.loop:
    import uvloop

    uvloop.run(main(options.tls))
else:
    asyncio.run(main(options.tls))
