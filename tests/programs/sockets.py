"""Parent and child pass numbers to and fro: sockets.py KIND [STEPS].

KIND is socketpair, tcp, unix (with a name), udp, pipe, fifo or pty.
"""

import os
import socket
import sys
import time
import tty

kind = sys.argv[1]
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300


def connected(family, address):
    """Return both ends of a connection through a listener, which stays open."""
    server = socket.create_server(address, family=family, reuse_port=False)
    near = socket.socket(family)
    near.connect(server.getsockname())
    return server, near, server.accept()[0]


def ends():
    """Return two pairs of descriptors, to read from and to write to, and what must be kept."""
    if kind == "pipe":
        (a, b), (c, d) = os.pipe(), os.pipe()
        return (a, d), (c, b), None
    if kind == "fifo":
        for name in ("there.fifo", "back.fifo"):
            os.mkfifo(name)
        there, back = (os.open(name, os.O_RDWR) for name in ("there.fifo", "back.fifo"))
        return (there, back), (back, there), None
    if kind == "pty":
        master, slave = os.openpty()
        tty.setraw(slave)
        return (slave, slave), (master, master), None
    server = None
    if kind == "socketpair":
        near, far = socket.socketpair()
    elif kind == "udp":
        near, far = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        for one in (near, far):
            one.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
    elif kind == "tcp":
        server, near, far = connected(socket.AF_INET, ("127.0.0.1", 0))
    else:
        server, near, far = connected(socket.AF_UNIX, "here.sock")
    return (far.fileno(),) * 2, (near.fileno(),) * 2, (server, near, far)


def line_from(fd):
    """Return the next line that comes."""
    line = b""
    while not line.endswith(b"\n"):
        got = os.read(fd, 1)
        if not got:
            sys.exit(f"nothing comes any more, after {line}")
        line += got
    return line


child_ends, parent_ends, kept = ends()
if os.fork() == 0:
    for step in range(1, steps + 1):
        x = int(line_from(child_ends[0])) if kind != "udp" else int(os.read(child_ends[0], 100))
        os.write(child_ends[1], b"%d\n" % ((16807 * x + step) % 2147483647))
    os._exit(0)
x = 1
for step in range(1, steps + 1):
    os.write(parent_ends[1], b"%d\n" % x)
    x = int(line_from(parent_ends[0])) if kind != "udp" else int(os.read(parent_ends[0], 100))
    print(step, x, flush=True)
    time.sleep(0.1)
print("done", steps, x, os.wait()[1])
for name in ("there.fifo", "back.fifo", "here.sock"):
    if os.path.lexists(name):
        os.unlink(name)
