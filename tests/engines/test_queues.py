"""POSIX message queues under DMTCP, which on its own mixes what is in them with what a killed program left there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.skipif(built("shared") is None, reason="there was no C compiler at the installation")

_HEAD = """
import ctypes, os, signal, sys, time

class Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("flags", "most", "size", "count", "a", "b", "c", "d")]

class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signum", ctypes.c_int), ("how", ctypes.c_int), ("_", ctypes.c_char * 48)]

ctypes.CDLL("librt.so.1", ctypes.RTLD_GLOBAL)  # has them where the C library is older than 2.34
libc = ctypes.CDLL(None, use_errno=True)
name = b"/dmtcp-run-test-%d" % os.getpid()
attributes, text = Attributes(most=4, size=32), ctypes.create_string_buffer(32)

def must(result):
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result

def opened(flags):
    return must(libc.mq_open(name, flags | os.O_CREAT, 0o600, ctypes.byref(attributes)))

def send(queue, words):
    must(libc.mq_send(queue, words, len(words), 0))

def receive(queue):
    return text.raw[:must(libc.mq_receive(queue, text, 32, None))].decode()
"""
_TWO_ENDS = (
    _HEAD
    + """
steps = int(sys.argv[1])
writes = opened(os.O_WRONLY)
child = os.fork()
if not child:
    reads = opened(os.O_RDONLY)
    for _ in range(steps):
        print("got", receive(reads), flush=True)
        time.sleep(0.1)
    os._exit(0)
for step in range(steps):
    send(writes, b"message %d" % step)
print("child", os.waitpid(child, 0)[1])
libc.mq_unlink(name)
"""
)
_NOTIFIED = (
    _HEAD
    + """
count = 0

def note(*unused):
    global count
    count += 1

signal.signal(signal.SIGUSR1, note)
queue = opened(os.O_RDWR)
libc.mq_unlink(name)
send(queue, b"first")
must(libc.mq_notify(queue, ctypes.byref(Event(signum=signal.SIGUSR1, how=0))))
for step in range(int(sys.argv[1])):
    print(step, count, flush=True)
    time.sleep(0.1)
print(receive(queue))
send(queue, b"second")
time.sleep(0.1)
print(receive(queue), count)
"""
)
_BY_A_THREAD = (
    _HEAD
    + """
result = libc.mq_notify(opened(os.O_RDWR), ctypes.byref(Event(how=2)))
libc.mq_unlink(name)
sys.exit(result)
"""
)


@pytest.mark.parametrize("program", [_TWO_ENDS, _NOTIFIED], ids=["ends in two processes", "a request without a name"])
def test_a_queue_is_after_a_kill_what_it_was(bench: Workbench, one_dmtcp: EngineHere, program: str) -> None:
    assert one_dmtcp
    bench.assert_survives([*bench.python("queue.py", program), "60"], times=2)


def test_a_request_to_be_notified_by_a_thread_is_refused(bench: Workbench, one_dmtcp: EngineHere) -> None:
    assert one_dmtcp
    done = bench.run("--engine", "dmtcp", *bench.python("queue.py", _BY_A_THREAD))
    assert done.returncode == 125
    assert "DMTCP had refused it a thread for messages (mq_notify with SIGEV_THREAD)" in done.stderr
