"""Set what a thread and a process have besides memory, and print it at each step: attributes.py [STEPS]."""

import ctypes
import os
import platform
import socket
import sys
import threading
import time

LIBC = ctypes.CDLL(None)
GET, SET = {"x86_64": (252, 251), "aarch64": (31, 30)}[platform.machine()]
PR_SET_TIMERSLACK = 29
FIRST, LAST = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def become(processor, priority, slack):
    os.sched_setaffinity(0, {processor})
    LIBC.syscall(SET, 1, 0, priority)
    LIBC.prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0)


def look():
    slack = open(f"/proc/{threading.get_native_id()}/timerslack_ns").read().strip()
    return sorted(os.sched_getaffinity(0)), LIBC.syscall(GET, 1, 0), slack


def other():
    become(FIRST, 2 << 13 | 6, 222222)
    while True:
        seen["other"] = look()
        time.sleep(0.02)


def look_at_sockets():
    return [one.getsockopt(*option) for one, option, _ in SOCKETS]


SOCKETS = [
    (socket.socket(), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 5555),
    (socket.socket(type=socket.SOCK_DGRAM), (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL), 9),
]
for one, option, value in SOCKETS:
    one.setsockopt(*option, value)
with open("/proc/self/coredump_filter", "w") as file:
    file.write("0x7f")
seen = {}
become(LAST, 3 << 13, 111111)
threading.Thread(target=other, daemon=True).start()
while "other" not in seen:
    time.sleep(0.01)
for step in range(int(sys.argv[1]) if len(sys.argv) > 1 else 40):
    persona = open("/proc/self/personality").read().strip()
    core = open("/proc/self/coredump_filter").read().strip()
    print(step, look(), seen.pop("other", "not yet"), persona, core, *look_at_sockets(), flush=True)
    while "other" not in seen:
        time.sleep(0.01)
    time.sleep(0.1)
