"""MQTT in asyncio's loop: mqtt_main.py [URL] [--count N]

Publishes a number ten times a second and awaits that the server has taken each; prints what comes
back. Without a URL it is its own broker, which others may join.
"""

import argparse
import asyncio

import lodger


async def main(url, count):
    rt = lodger.Runtime()
    rt.attach(asyncio.get_running_loop(), "asyncio")
    if url is None:
        url = f"mqtt://{rt.listen_mqtt('127.0.0.1:0')}"
        print(f"a broker on {url}", flush=True)
    heard = []

    def on_message(topic, payload):
        heard.append(payload)
        print(f"{topic}: {payload.decode()}", flush=True)

    client = lodger.Mqtt(rt, url, will=("sensor/state", b"lost"))
    client.subscribe("sensor/#", on_message)
    taken = 0
    while taken < count:
        # Waits while there is no connection, and goes on when there is one again.
        await client.publish("sensor/number", str(taken).encode(), qos=1)
        taken += 1
        await asyncio.sleep(0.1)
    client.close()
    # The goodbye takes a turn of the loop.
    await asyncio.sleep(0.1)
    rt.close()
    print(f"{taken} taken, {len(heard)} heard", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("url", nargs="?", help="mqtt://HOST:PORT, mqtts://..., ws://..., unix:PATH")
parser.add_argument("--count", type=int, default=1 << 62, help="end after so many")
options = parser.parse_args()
asyncio.run(main(options.url, options.count))
