"""Starts a program as systemd does by socket activation: with a listening socket as descriptor 3."""

import os
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.environ.pop("LODGER_LISTEN", None)
os.execv(sys.argv[1], sys.argv[1:])
