"""What criu forgets, or cannot checkpoint: put back, or refused by its name before there is anything to lose."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

CHILDREN = """
import subprocess, sys, time
CHILD = "import time\\nwith open('rows.txt', 'a') as rows:\\n for row in range(8):\\n"
CHILD += "  print(NUMBER, row, file=rows, flush=True)\\n  time.sleep(0.1)"
pids = set()
for number in range(6):
    child = subprocess.Popen([sys.executable, "-S", "-c", CHILD.replace("NUMBER", str(number))])
    print(number, child.pid in pids, child.wait(), flush=True)
    pids.add(child.pid)
"""
THREADS = """
import threading, time
until = time.monotonic() + 6
def start_others():
    while time.monotonic() < until:
        other = threading.Thread(target=time.sleep, args=(0.0005,))
        other.start()
        other.join()
for thread in (threads := [threading.Thread(target=start_others) for _ in range(4)]):
    thread.start()
for step in range(30):
    print(step, flush=True)
    time.sleep(0.2)
for thread in threads:
    thread.join()
"""
HOLDS = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
kind = sys.argv[1]
if kind == "queue":
    libc.mq_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
    held = libc.mq_open(f"/queue-{os.getpid()}".encode(), os.O_RDWR | os.O_CREAT, 0o600, None)
elif kind == "page faults":
    held = libc.syscall({"x86_64": 323, "aarch64": 282}[os.uname().machine], 1)
elif kind == "semaphore":
    held = libc.eventfd(3, 1)
elif kind == "packets":
    held = os.pipe2(os.O_DIRECT)[0]
if held < 0:
    sys.exit(99)
time.sleep(30)
"""
STOPPED = """
import os, signal
child = os.fork()
while child == 0:
    signal.pause()
os.kill(child, signal.SIGSTOP)
os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOWAIT)
for step in range(80):
    for _ in range(30000):
        if os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is None:
            print("it is not stopped", flush=True)
    print(step, flush=True)
os.kill(child, signal.SIGKILL)
"""
WAITS = """
import ctypes, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
reading, writing = os.pipe()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
semaphore = libc.semget(0, 1, 0o600)
LIMIT_S = 5

class Operation(ctypes.Structure):
    _fields_ = [("number", ctypes.c_ushort), ("change", ctypes.c_short), ("flags", ctypes.c_short)]

class Descriptor(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("found", ctypes.c_short)]

class Time(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]

def poll(ms=-1):
    return libc.poll(ctypes.byref(Descriptor(reading, 1, 0)), 1, ms)

def epoll(ms=-1):
    own, event = libc.epoll_create1(0), (ctypes.c_uint32 * 3)(1)
    libc.epoll_ctl(own, 1, reading, event)
    return libc.epoll_wait(own, (ctypes.c_uint32 * 3)(), 1, ms)

def semop():
    return libc.semop(semaphore, ctypes.byref(Operation(0, -1, 0)), 1)

def sigwait():
    return libc.sigwaitinfo(ctypes.byref((ctypes.c_ulong * 16)(1 << signal.SIGUSR1 - 1)), None)

def sleep():
    left = Time()
    return libc.nanosleep(ctypes.byref(Time(LIMIT_S, 0)), ctypes.byref(left))

def usleep():
    return libc.usleep(LIMIT_S * 1000000)

def timed(wait):
    began = time.monotonic()
    result = wait()
    found[wait.__name__] = result, os.strerror(ctypes.get_errno()) if result < 0 else "", time.monotonic() - began

def poll_for(): return poll(LIMIT_S * 1000)
def epoll_for(): return epoll(LIMIT_S * 1000)

found = {}
for_ever, limited = (poll, epoll, semop, sigwait), (poll_for, epoll_for, sleep, usleep)
waits = for_ever if sys.argv[1] == "for ever" else limited
threads = [threading.Thread(target=timed, args=(wait,)) for wait in waits]
for thread in threads:
    thread.start()
for step in range(24):
    print(step, flush=True)
    time.sleep(0.25)
if sys.argv[1] == "for ever":
    libc.semop(semaphore, ctypes.byref(Operation(0, 1, 0)), 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.write(writing, b"x")
for thread in threads:
    thread.join()
libc.semctl(semaphore, 0, 0)
for name, (result, error, seconds) in sorted(found.items()):
    print(name, result, error, sys.argv[1] == "for ever" or seconds >= LIMIT_S - 0.1, flush=True)
"""
ROWS = """
import sys, time
for step in range(30):
    with open("rows.txt", "a") as rows:
        print(step, file=rows)
    print(step, flush=True)
    time.sleep(0.2)
sys.exit(5)
"""
CLEARS = """
import ctypes, os, shlex, sys
libc = ctypes.CDLL(None)
libc.clearenv()
sys.exit(os.waitstatus_to_exitcode(libc.system(shlex.join(sys.argv[1:]).encode())))
"""
LATE = """
import os, subprocess, sys, time
def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.05)
child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(163)"])
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
print("ended", flush=True)
wait_for("wait")
print(child.wait(), flush=True)
wait_for("end")
"""
REASONS = {
    "queue": "the POSIX message queue",
    "page faults": "handles its own page faults (userfaultfd), which CRIU cannot checkpoint",
    "semaphore": "has an eventfd that counts down one by one (EFD_SEMAPHORE), which CRIU forgets",
    "packets": "has a pipe of packets (O_DIRECT), which CRIU cannot checkpoint",
}


@pytest.mark.plain_user_too
@pytest.mark.parametrize("words", [[], ["setarch", "--addr-no-randomize"]], ids=["as it is", "personality"])
def test_attributes_of_threads_that_criu_forgets_are_as_before(
    bench: Workbench, criu: EngineHere, words: list[str]
) -> None:
    del criu
    bench.assert_survives([*words, *bench.program("attributes.py")], times=2)
    assert "not as before" not in bench.said()


def test_a_resumed_program_has_children_with_new_pids_whose_files_go_back_too(
    bench: Workbench, criu: EngineHere
) -> None:
    del criu
    bench.assert_survives(bench.python("children.py", CHILDREN), "rows.txt", times=3, progress=None)


@pytest.mark.plain_user_too
def test_a_program_that_starts_threads_all_the_time_resumes(bench: Workbench, criu: EngineHere) -> None:
    del criu
    bench.assert_survives(bench.python("threads.py", THREADS), times=2)


@pytest.mark.skipif(built("environment") is None, reason="there was no compiler at the installation")
@pytest.mark.parametrize("kind", ["env -i", "another LD_PRELOAD", "clearenv"])
def test_what_a_program_without_its_environment_does_to_files_is_undone(
    bench: Workbench, criu: EngineHere, kind: str
) -> None:
    del criu
    program = bench.python("rows.py", ROWS)
    if kind == "clearenv":
        program = bench.python("clears.py", CLEARS) + program
    elif kind == "env -i":
        program = ["env", "-i", *program]
    else:
        program = ["sh", "-c", 'LD_PRELOAD=libc.so.6 "$@"; exit $?', "sh", *program]
    bench.assert_survives(program, "rows.txt", status=5, times=2)
    assert "not recorded" not in bench.said()


@pytest.mark.skipif(built("calls") is None, reason="there was no compiler at the installation")
@pytest.mark.parametrize("how_long", ["for ever", "limited"])
def test_calls_that_wait_are_not_interrupted_by_a_checkpoint_or_a_resume(
    bench: Workbench, criu: EngineHere, how_long: str
) -> None:
    del criu
    if platform.machine() != "x86_64":
        pytest.skip("only x86-64 has the registers that native/calls.c changes")
    bench.assert_survives([*bench.python("waits.py", WAITS), how_long], times=2)


@pytest.mark.skipif(built("stops") is None, reason="there was no compiler at the installation")
def test_a_child_that_was_stopped_is_so_whenever_its_parent_looks(bench: Workbench, criu: EngineHere) -> None:
    del criu
    bench.assert_survives(bench.python("stopped.py", STOPPED), times=2, options=("-i", "0.5"))


@pytest.mark.parametrize("kind", REASONS)
def test_what_criu_cannot_checkpoint_is_refused_by_its_name(bench: Workbench, criu: EngineHere, kind: str) -> None:
    del criu
    done = bench.run("-i", "0.3", *bench.python("holds.py", HOLDS), kind)
    if done.returncode == 99:
        pytest.skip("the kernel does not give it")
    assert done.returncode == 125
    assert REASONS[kind] in done.stderr
    assert bench.generations == []


def test_a_process_in_a_user_namespace_of_its_own_is_refused_by_its_name(bench: Workbench, criu: EngineHere) -> None:
    del criu
    alone = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*alone, "true"], capture_output=True, timeout=20, check=False).returncode:
        pytest.skip("the kernel does not give it")
    done = bench.run("-i", "0.3", *alone, sys.executable, "-c", "import time; time.sleep(30)")
    assert done.returncode == 125
    assert "is in its own user namespace, which no engine restores" in done.stderr
    assert bench.generations == []


def test_no_checkpoint_is_taken_while_a_child_has_a_status_that_criu_would_change(
    bench: Workbench, criu: EngineHere
) -> None:
    """It restores the lower seven bits of what a child passed to exit()."""
    del criu
    process = bench.start("-i", "0", "--job", "late", "--stdout", "out.txt", *bench.python("late.py", LATE))
    bench.wait_lines(1, process)
    refused = bench.ctl("checkpoint", "late")
    assert refused.returncode == 1
    assert "has ended with status 163 and is not waited for yet, and CRIU would restore 35" in refused.stderr
    assert bench.generations == []
    (bench.folder / "wait").touch()
    bench.wait_said("163", process, "out.txt")
    assert bench.ctl("checkpoint", "late").returncode == 0
    (bench.folder / "end").touch()
    assert process.wait(60) == 0
