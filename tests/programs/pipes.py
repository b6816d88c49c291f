"""Keep pipes of all kinds and look at them in each step: pipes.py STEPS [packets].

One is full and large, one has packets if asked for, one has data and no writer, one has no reader, two connect this process with a
child that shares their descriptions, one is polled.
"""

import fcntl
import os
import select
import stat
import sys
import time

MEGABYTE = 1 << 20
full_from, full_to = os.pipe()
fcntl.fcntl(full_to, fcntl.F_SETPIPE_SZ, MEGABYTE)
data = bytes(i * 7 % 251 for i in range(MEGABYTE))
os.write(full_to, data)
has_packets = "packets" in sys.argv
packets_from, packets_to = os.pipe2(os.O_DIRECT if has_packets else 0)
for packet in (b"ab", b"cde", b"f"):
    os.write(packets_to, packet)
last_from, last_to = os.pipe()
os.write(last_to, b"last words")
os.close(last_to)
unread_from, unread_to = os.pipe()
os.close(unread_from)
there_from, there_to = os.pipe()
back_from, back_to = os.pipe()
polled_from, polled_to = os.pipe()
poll = select.epoll()
poll.register(polled_from, select.EPOLLIN)
again = os.dup2(there_from, 100, inheritable=True)
child = os.fork()
if child == 0:
    poll.close()
    for fd in (there_to, back_from, polled_from, full_from, full_to):
        os.close(fd)
    while word := os.read(there_from, 100):
        os.set_blocking(there_from, not os.get_blocking(there_from))
        os.write(back_to, word[::-1])
        os.write(polled_to, b"!")
        os.set_blocking(there_from, True) if word.endswith(b"odd") else select.select([there_from], [], [])
    os._exit(3)
os.close(back_to)
ends = (
    full_from,
    full_to,
    packets_from,
    packets_to,
    last_from,
    unread_to,
    there_to,
    back_from,
    polled_from,
    polled_to,
    again,
)
for step in range(int(sys.argv[1])):
    os.write(there_to, b"%d odd" % step if step % 2 else b"%d even" % step)
    word = os.read(back_from, 100)
    is_polled = poll.poll(60) == [(polled_from, select.EPOLLIN)] and os.read(polled_from, 2)
    flags = [fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_DIRECT) for fd in ends]
    sizes = [fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) for fd in ends]
    are_closed = [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in ends]
    are_pipes = [stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in ends]
    print(step, word, is_polled, flags, sizes, are_closed, are_pipes, flush=True)
    time.sleep(0.1)
try:
    os.write(unread_to, b"x")
except BrokenPipeError:
    print("no reader")
print([os.read(packets_from, 100) for _ in range(3 if has_packets else 1)])
print(os.read(last_from, 100), os.read(last_from, 100))
found = b""
while len(found) < len(data):
    found += os.read(full_from, MEGABYTE)
print(found == data)
os.close(there_to)
print(os.waitpid(child, 0)[1], os.read(back_from, 1))
