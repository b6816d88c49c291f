"""Listens at a port with some sockets, and visits them: ``listens.py STEPS PORT OPTION...``.

The side that listens closes first, so that the kernel keeps the port for a minute after each visit.
"""

import select
import socket
import sys
import time

steps, port = map(int, sys.argv[1:3])
shares = "SO_REUSEPORT" in sys.argv
listeners = [socket.socket() for _ in range(3 if shares else 1)]
for one in listeners:
    for option in sys.argv[3:]:
        one.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    one.bind(("127.0.0.1", port))
    one.listen()


def settings() -> list[int]:
    """Return how each socket may share its port."""
    names = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    return [one.getsockopt(socket.SOL_SOCKET, name) for one in listeners for name in names]


before = settings()
for step in range(steps):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as visitor:
        (ready, *_), _, _ = select.select(listeners, [], [], 10)
        ready.accept()[0].close()
        assert visitor.recv(1) == b""
    print("visit", step, settings() == before, flush=True)
    time.sleep(0.1)
