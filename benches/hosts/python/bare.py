"""What asyncio itself costs: each message is one recv and one send in Python, and no guest is there.

The loader has one message of 64 bytes in flight on each connection, so that what a recv brings is that
message: nothing of WebSocket but its two bytes of header is looked at.
"""

import asyncio
import socket

HEADER = b"\x82\x40"
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
            message = peer.recv(65536)
            if message:
                peer.send(HEADER + message[6:])
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
