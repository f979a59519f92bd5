"""A broker as clients that are not ours see it: paho-mqtt and aiomqtt. Usage: interop.py PORT

Each check prints a line; the last line is "N checks". A check that fails ends the program.
"""

import asyncio
import queue
import sys
import time

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
WAIT = 20
checks = 0


def check(name, good):
    global checks
    if not good:
        sys.exit(f"failed: {name}")
    checks += 1
    print(f"ok: {name}")


class Peer:
    """One client with its own thread; what it hears stands in queues."""

    def __init__(self, name, version=paho.MQTTv5, clean=True, expiry=0, will=None, wills=None, **connect):
        self.messages, self.acks, self.connacks = queue.Queue(), queue.Queue(), queue.Queue()
        self.ends = queue.Queue()
        args = {"clean_session": clean} if version == paho.MQTTv311 else {}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **args
        )
        self.client.on_message = lambda c, u, m: self.messages.put(m)
        self.client.on_publish = lambda c, u, mid, code, p: self.acks.put(code)
        self.client.on_subscribe = lambda c, u, mid, codes, p: self.acks.put(codes)
        self.client.on_unsubscribe = lambda c, u, mid, codes, p: self.acks.put(codes)
        self.client.on_connect = lambda c, u, f, code, p: self.connacks.put((f, code, p))
        self.client.on_disconnect = lambda c, u, f, code, p: self.ends.put(code)
        self.client.reconnect_delay_set(60, 60)
        if will:
            self.client.will_set(*will, properties=wills)
        if version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            if expiry:
                properties.SessionExpiryInterval = expiry
            for key, value in connect.items():
                setattr(properties, key, value)
            self.client.connect("127.0.0.1", PORT, 60, clean_start=clean, properties=properties)
        else:
            self.client.connect("127.0.0.1", PORT, 60)
        self.client.loop_start()
        self.flags, self.code, self.properties = self.connacks.get(timeout=WAIT)

    def subscribe(self, filter, qos=0, **options):
        properties = None
        if "identifier" in options:
            properties = Properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = options.pop("identifier")
        if options or properties:
            self.client.subscribe(
                filter, options=SubscribeOptions(qos, **options), properties=properties
            )
        else:
            self.client.subscribe(filter, qos)
        return self.acks.get(timeout=WAIT)

    def unsubscribe(self, filter):
        self.client.unsubscribe(filter)
        return self.acks.get(timeout=WAIT)

    def publish(self, topic, payload, qos=0, retain=False, **fields):
        properties = None
        if fields:
            properties = Properties(PacketTypes.PUBLISH)
            for key, value in fields.items():
                setattr(properties, key, value)
        self.client.publish(topic, payload, qos, retain, properties)
        return self.acks.get(timeout=WAIT)

    def heard(self):
        return self.messages.get(timeout=WAIT)

    def quiet(self):
        """Whether nothing is heard before an answer to something else."""
        self.subscribe("interop/quiet", 1)
        self.publish("interop/quiet", b"", 1)
        first = self.heard()
        self.unsubscribe("interop/quiet")
        return first.topic == "interop/quiet"

    def drop(self):
        """Goes without a goodbye."""
        self.client.on_disconnect = None
        self.client.loop_stop()
        self.client._sock.close()

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def every_qos(version, word):
    hears, says = Peer(f"h{word}", version), Peer(f"s{word}", version)
    for qos in (0, 1, 2):
        hears.subscribe(f"{word}/{qos}", qos)
        for i in range(20):
            says.publish(f"{word}/{qos}", str(i).encode(), qos)
        got = [hears.heard() for _ in range(20)]
        check(f"{word} QoS {qos} in order", [int(m.payload) for m in got] == list(range(20)))
        check(f"{word} QoS {qos} as published", all(m.qos == qos for m in got))
    big = bytes(range(256)) * 400
    says.publish(f"{word}/2", big, 2)
    check(f"{word} 100 KiB", hears.heard().payload == big)
    hears.end(), says.end()


def kept_messages(version, word):
    says = Peer(f"k{word}", version)
    for i in range(3):
        says.publish(f"kept/{word}/{i}", b"x", 1, retain=True)
    says.publish(f"kept/{word}/1", b"", 1, retain=True)
    hears = Peer(f"l{word}", version)
    hears.subscribe(f"kept/{word}/#", 1)
    topics = sorted(hears.heard().topic[-1] for _ in range(2))
    check(f"{word} kept messages", topics == ["0", "2"] and hears.quiet())
    says.publish(f"kept/{word}/9", b"x", 1, retain=True)
    check(f"{word} what comes later is not marked", not hears.heard().retain)
    hears.end(), says.end()


def sessions(version, word):
    args = {"expiry": 100} if version == paho.MQTTv5 else {}
    first = Peer(f"p{word}", version, clean=False, **args)
    check(f"{word} a new session", not first.flags.session_present)
    first.subscribe(f"queue/{word}", 2)
    first.end()
    says = Peer(f"q{word}", version)
    for i in range(10):
        says.publish(f"queue/{word}", str(i).encode(), 1 + i % 2)
    again = Peer(f"p{word}", version, clean=False, **args)
    check(f"{word} the session is there", again.flags.session_present)
    check(f"{word} what waited", sorted(int(again.heard().payload) for _ in range(10)) == list(range(10)))
    again.end()
    clean = Peer(f"p{word}", version, clean=True)
    check(f"{word} a clean start", not clean.flags.session_present)
    clean.end(), says.end()


def takeover_and_wills():
    hears = Peer("watch")
    hears.subscribe("will/#", 1)
    Peer("dies", will=("will/now", b"w", 1, False)).drop()
    check("a will", hears.heard().topic == "will/now")
    polite = Peer("leaves", will=("will/never", b"w", 1, False))
    polite.end()
    check("no will after a goodbye", hears.quiet())
    delayed = Properties(PacketTypes.WILLMESSAGE)
    delayed.WillDelayInterval = 2
    late = Peer("late", expiry=60, will=("will/late", b"w", 1, False), wills=delayed)
    late.drop()
    began = time.monotonic()
    check("a will with a delay", hears.heard().topic == "will/late" and time.monotonic() - began >= 1.5)
    back = Peer("back", expiry=60, will=("will/back", b"w", 1, False), wills=delayed)
    back.drop()
    back = Peer("back", clean=False, expiry=60)
    time.sleep(2.5)
    check("no will of one who came back", hears.quiet())
    old = Peer("twice")
    new = Peer("twice")
    check("taken over", old.ends.get(timeout=WAIT).value == 0x8E)
    for peer in (hears, back, new):
        peer.end()


def version_5():
    a, b = Peer("a5"), Peer("b5")
    a.subscribe("opt/local", 1, noLocal=True)
    a.publish("opt/local", b"x", 1)
    check("no local", a.quiet())
    b.publish("opt/kept", b"x", 1, retain=True)
    a.subscribe("opt/kept", 1, retainHandling=1, retainAsPublished=True)
    check("kept for a new subscription", a.heard().retain)
    a.subscribe("opt/kept", 1, retainHandling=1)
    check("not for one that is there", a.quiet())
    a.subscribe("opt/kept", 1, retainHandling=2)
    check("nor where it is not wanted", a.quiet())
    a.subscribe("id/+", 0, identifier=7)
    a.subscribe("id/x", 1, identifier=9)
    b.publish(
        "id/x", b"x", 1,
        UserProperty=[("k", "v"), ("k", "w")], ContentType="t", ResponseTopic="r", CorrelationData=b"c",
    )
    told = a.heard()
    check("overlapping: once, with the higher QoS", told.qos == 1)
    check("numbers of subscriptions", sorted(told.properties.SubscriptionIdentifier) == [7, 9])
    check("properties are sent on", told.properties.UserProperty == [("k", "v"), ("k", "w")]
          and told.properties.ContentType == "t" and told.properties.ResponseTopic == "r"
          and told.properties.CorrelationData == b"c")
    check("nobody listens", b.publish("nobody/here", b"", 1).value == 0x10)
    check("no subscription existed", a.unsubscribe("never")[0].value == 0x11)
    asleep = Peer("asleep", clean=False, expiry=100)
    asleep.subscribe("exp/#", 1)
    asleep.end()
    b.publish("exp/short", b"x", 1, MessageExpiryInterval=1)
    b.publish("exp/long", b"x", 1, MessageExpiryInterval=100)
    time.sleep(2.2)
    asleep = Peer("asleep", clean=False, expiry=100)
    told = asleep.heard()
    check("expiry", told.topic == "exp/long" and 90 <= told.properties.MessageExpiryInterval <= 98)
    asleep.end()
    none = Peer("")
    check("an identifier is given", len(none.properties.AssignedClientIdentifier) > 0)
    none.end()
    small = Peer("small", MaximumPacketSize=100)
    small.subscribe("size", 1)
    b.publish("size", b"x" * 200, 1)
    b.publish("size", b"y", 1)
    check("what is too long is left out", small.heard().payload == b"y")
    alias = Peer("alias", TopicAliasMaximum=2)
    alias.subscribe("alias/#", 0)
    for _ in range(3):
        b.publish("alias/a", b"z")
    told = [alias.heard() for _ in range(3)]
    # This client leaves them to its user.
    check("aliases of the server", [(m.topic, m.properties.TopicAlias) for m in told]
          == [("alias/a", 1), ("", 1), ("", 1)])
    for peer in (small, alias):
        peer.end()
    shares = [Peer(f"share{i}") for i in range(3)]
    for peer in shares:
        peer.subscribe("$share/g/shared/#", 1)
    for i in range(30):
        b.publish("shared/x", str(i).encode(), 1)
    b.publish("shared/x", b"", 1)
    time.sleep(0.5)
    got = [peer.messages.qsize() for peer in shares]
    check(f"shared subscriptions {got}", sum(got) == 31 and max(got) - min(got) <= 1)
    slow = Peer("slow", ReceiveMaximum=1)
    slow.subscribe("many", 2)
    for i in range(10):
        b.publish("many", str(i).encode(), 2)
    check("one at a time", [int(slow.heard().payload) for _ in range(10)] == list(range(10)))
    for peer in [a, b, slow] + shares:
        peer.end()


def dollar_topics():
    a = Peer("dollar")
    a.subscribe("+/dollar", 1)
    a.publish("$x/dollar", b"", 1)
    check("a wildcard does not match a $", a.quiet())
    check("$SYS is the server's", a.publish("$SYS/x", b"", 1).value == 0x87)
    a.end()


async def asynchronous():
    async with aiomqtt.Client("127.0.0.1", PORT) as client:
        await client.subscribe("aio/#", qos=2)
        for i in range(50):
            await client.publish("aio/x", str(i), qos=i % 3)
        got = []
        async for message in client.messages:
            got.append(int(message.payload))
            if len(got) == 50:
                break
        check("aiomqtt, mixed QoS", sorted(got) == list(range(50)))


for version, word in ((paho.MQTTv311, "v4"), (paho.MQTTv5, "v5")):
    every_qos(version, word)
    kept_messages(version, word)
    sessions(version, word)
takeover_and_wills()
version_5()
dollar_topics()
asyncio.run(asynchronous())
print(f"{checks} checks")
