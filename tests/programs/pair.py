"""A client and a server that hand a number to and fro over TCP, and each print every one: ``pair.py ROLE HOST STEPS``.

With a number of BYTES they send so much at each step, both at once.
"""

import socket
import sys
import threading
import time
from pathlib import Path

role, host, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
size = int(sys.argv[4]) if len(sys.argv) > 4 else 0
pause_s = float(sys.argv[5]) if len(sys.argv) > 5 else 0.05

if role == "server":
    listener = socket.create_server(("0.0.0.0", 0))
    Path("pair.tmp").write_text(str(listener.getsockname()[1]))
    Path("pair.tmp").rename("pair.port")
    peer = listener.accept()[0]
else:
    while not Path("pair.port").exists():
        time.sleep(0.02)
    peer = socket.create_connection((host, int(Path("pair.port").read_text())))
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
stream = peer.makefile("rb")


def send(number: int) -> None:
    peer.sendall(b"%d\n" % number + bytes([number % 256]) * size)


def receive() -> int:
    line = stream.readline()
    assert line, "the other end is gone"
    number = int(line)
    assert stream.read(size) == bytes([number % 256]) * size, "what came is not what was sent"
    return number


x = 1
for step in range(steps):
    if size:
        sender = threading.Thread(target=send, args=(x,))
        sender.start()
        time.sleep(pause_s)
        x = (48271 * receive() + step) % 2147483647
        sender.join()
    elif role == "client":
        send(x)
        x = receive()
    else:
        x = (16807 * receive() + step) % 2147483647
        send(x)
        time.sleep(pause_s)
    sys.stdout.write(f"{step} {x}\n")
    sys.stdout.flush()
sys.stdout.write(f"done {x}\n")
