"""3,000 connections open at once in a host whose select() knows 1,024 descriptors: each is served."""

import os
import resource
import socket
import subprocess
import sys

COUNT = 3000
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if hard != resource.RLIM_INFINITY and hard < COUNT + 200:
    print(f"skipped: at most {hard} descriptors here")
    sys.exit(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT + 200, hard))


def get(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return int(answer.split(b"\r\n\r\n", 1)[1]) if path == "/ticks" else answer


environment = {key: value for key, value in os.environ.items() if not key.startswith("LODGER_")}
host = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True, env=environment)
try:
    address = host.stdout.readline().rsplit("/", 1)[1].strip().rsplit(":", 1)
    open_now = [socket.create_connection((address[0], int(address[1])), 60) for _ in range(COUNT)]
    before = [get(connection, "/ticks") for connection in open_now]
    after = [get(connection, "/ticks") for connection in reversed(open_now)]
    # All of them are open, and the host's own timer goes on.
    assert len(os.listdir(f"/proc/{host.pid}/fd")) > COUNT
    assert after[-1] > before[0] > 0
    get(open_now[0], "/detach")
    assert "100 more ticks" in host.stdout.readline()
    assert host.wait(60) == 0
finally:
    host.kill()
print(f"{COUNT} connections")
