"""What asyncio itself costs: each message is one recv and one send in Python, and no guest is there.

The loader has one message in flight on each connection and always says the same, so that what a recv
brings is that message, and the answer is ready: nothing of WebSocket is done.
"""

import asyncio
import socket

ANSWER = b"\x82\x40" + b"w" * 64
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)

    def accept():
        peer, _ = listener.accept()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def upgrade():
            peer.recv(4096)
            peer.send(SWITCHED)
            loop.add_reader(peer, echo)

        def echo():
            if peer.recv(65536):
                peer.send(ANSWER)
            else:
                loop.remove_reader(peer)
                peer.close()

        loop.add_reader(peer, upgrade)

    loop.add_reader(listener, accept)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        # As the others have a timer of the host's.
        await asyncio.sleep(0.01)


asyncio.run(main())
