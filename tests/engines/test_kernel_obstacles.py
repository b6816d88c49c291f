"""What DMTCP does not see of a process is looked up in the kernel, and refused by name; CRIU restores most of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.dmtcp.kernel_obstacles import kernel_obstacle
from kit.processes import program_of
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

HAS = """
import ctypes, os, select, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
steps = int(sys.argv[2])

def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(3)
        os._exit(5)
    return os.pidfd_open(pid)

def fanotify():
    os.makedirs("watched", exist_ok=True)
    fd = libc.fanotify_init(0, 0)
    assert libc.fanotify_mark(fd, 1, ctypes.c_uint64(0x08000008), -100, b"watched") == 0, ctypes.get_errno()
    return fd

def inotify():
    os.makedirs("watched", exist_ok=True)
    fd = libc.inotify_init1(0)
    assert libc.inotify_add_watch(fd, b"watched", 0x100) >= 0
    return fd

def seccomp():
    allow = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Program(1, ctypes.addressof(allow)))) == 0

def userfaultfd():
    fd = libc.syscall(323, os.O_CLOEXEC | os.O_NONBLOCK)
    assert fd >= 0
    return fd

kept = {
    "pidfd": child,
    "fanotify": fanotify,
    "inotify": inotify,
    "seccomp": seccomp,
    "userfaultfd": userfaultfd,
    "O_PATH": lambda: os.open("/", os.O_PATH),
}[sys.argv[1]]()
for step in range(steps):
    print(step, flush=True)
    time.sleep(0.1)
if sys.argv[1] == "pidfd":
    print(select.select([kept], [], [])[0] == [kept], os.waitstatus_to_exitcode(os.wait()[1]))
if sys.argv[1] in ("inotify", "fanotify"):
    open("watched/new", "w").close()
    print(len(os.read(kept, 4096)) > 0)
if sys.argv[1] == "seccomp":
    print([line for line in open("/proc/self/status") if line.startswith("Seccomp:")])
if sys.argv[1] == "O_PATH":
    print(os.stat(kept).st_ino == os.stat("/").st_ino)
"""
RESTORED_BY_CRIU = {
    "pidfd": "uses pidfd, which DMTCP does not restore",
    "fanotify": "uses fanotify, which DMTCP does not restore",
    "seccomp": "has a filter for system calls (seccomp), which DMTCP does not restore",
    "O_PATH": "has / open for its path only (O_PATH), and DMTCP would end it",
}
REFUSED_WITHOUT_PRIVILEGES = ("seccomp", "inotify")
TRACES = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("traces", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def dmtcp(engine: EngineHere, bench: Workbench) -> EngineHere:
    """Give the engine where it is a DMTCP; lines ask for it by name, because CRIU would take its place."""
    if engine.name != "dmtcp":
        pytest.skip("CRIU has its own")
    bench.engine = engine.by_name
    return bench.engine


def _program(bench: Workbench, kind: str, steps: int) -> list[str]:
    if kind == "fanotify" and os.geteuid() != 0:
        pytest.skip("only root may watch files with fanotify in all kernels")
    return [*bench.python("has.py", HAS), kind, str(steps)]


@pytest.mark.parametrize("kind", RESTORED_BY_CRIU)
def test_what_dmtcp_loses_is_refused_by_name(bench: Workbench, dmtcp: EngineHere, kind: str) -> None:
    assert dmtcp
    done = bench.run("-i", "0.5", "--stdout", "out.txt", *_program(bench, kind, 400))
    assert done.returncode == 125
    assert RESTORED_BY_CRIU[kind] in done.stderr
    assert "--engine criu can checkpoint it" in done.stderr
    assert bench.generations == []


@pytest.mark.parametrize("kind", [*RESTORED_BY_CRIU, "inotify"])
def test_and_comes_through_with_criu(bench: Workbench, criu: EngineHere, kind: str) -> None:
    if kind in REFUSED_WITHOUT_PRIVILEGES and criu.is_an_ordinary_users:
        pytest.skip("refused without privileges; test_without_privileges.py tests that")
    bench.assert_survives(_program(bench, kind, 40))


def test_what_no_engine_restores_names_none(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("-i", "0.5", *_program(bench, "userfaultfd", 400))
    assert done.returncode == 125
    assert "uses userfaultfd, which DMTCP does not restore; --allow-unprotected" in done.stderr
    assert "criu" not in done.stderr


@pytest.mark.parametrize(("option", "kind"), [("-n", "network"), ("-m", "mount"), ("-i", "IPC"), ("-u", "UTS")])
def test_a_namespace_of_its_own_is_refused(bench: Workbench, dmtcp: EngineHere, option: str, kind: str) -> None:
    assert dmtcp
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can make a namespace")
    done = bench.run("-i", "0.5", "unshare", option, "sleep", "40")
    assert done.returncode == 125
    assert f"is in its own {kind} namespace, which no engine restores" in done.stderr
    assert bench.generations == []


def test_a_program_that_is_being_traced_is_not_checkpointed_meanwhile(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    process = bench.start("-i", "1", "--stdout", "out.txt", *bench.counting(200))
    bench.wait_generations(1, process)
    program = program_of(process)
    assert program is not None
    with subprocess.Popen(
        [sys.executable, "-c", TRACES, str(program.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == "traces\n"
        found = _obstacle_to_another(program.pid)
        assert f"is traced by process {tracer.pid} (python" in found
        assert "is_temporary=True" in found
    assert _obstacle_to_another(program.pid) == "None\n"
    bench.wait_generations(2, process)
    assert process.wait(LONG_S) == 0
    bench.assert_counted(200)


def _obstacle_to_another(pid: int) -> str:
    """Return what a process that started neither PID nor its tracer finds."""
    code = f"from {kernel_obstacle.__module__} import kernel_obstacle; print(kernel_obstacle({pid}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S, check=True)
    return done.stdout


HAS_MORE = """
import ctypes, fcntl, os, select, socket, sys, tempfile

def disarmed():
    reading, writing = os.pipe()
    found = select.epoll()
    found.register(reading, select.EPOLLIN | select.EPOLLONESHOT)
    os.write(writing, b"x")
    return found.poll(), found, writing

def lease():
    fd = os.open("leased", os.O_RDONLY | os.O_CREAT)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)

def announced():
    pair = socket.socketpair()
    fcntl.fcntl(pair[0], fcntl.F_SETFL, os.O_ASYNC)
    return pair

def removed():
    os.chdir(tempfile.mkdtemp())
    os.rmdir(os.getcwd())

def asynchronous():
    number = {"x86_64": 206, "aarch64": 0}[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, 8, ctypes.byref(ctypes.c_ulong())) == 0

kept = {"oneshot": disarmed, "lease": lease, "signal": announced, "cwd": removed, "aio": asynchronous}[sys.argv[1]]()
print("there", flush=True)
sys.stdin.read()
"""
FORGOTTEN = {
    "oneshot": "watching a descriptor of which an event has come (EPOLLONESHOT)",
    "lease": "leased (F_SETLEASE), which DMTCP does not restore",
    "signal": "open so that a signal announces data (O_ASYNC), which DMTCP does not restore",
    "cwd": "is in a directory that was removed, and DMTCP would end it",
    "aio": "uses the kernel's asynchronous I/O (io_setup), which DMTCP does not restore",
}


@pytest.mark.parametrize("kind", FORGOTTEN)
def test_what_dmtcp_forgets_is_seen_from_outside(tmp_path: Path, kind: str) -> None:
    line = [sys.executable, "-c", HAS_MORE, kind]
    with subprocess.Popen(line, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        found = kernel_obstacle(process.pid)
        assert found is not None
        assert FORGOTTEN[kind] in found.what
        process.stdin.close()
        assert process.wait(LONG_S) == 0


def test_a_program_that_traces_another_of_its_processes_is_refused(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    text = """
import os, ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
child = os.fork()
if child == 0:
    # the child asks for it, which needs no number of a process
    assert libc.ptrace(0, 0, None, None) == 0, ctypes.get_errno()
    time.sleep(40)
    os._exit(0)
os.waitpid(child, 0)
"""
    done = bench.run("-i", "0.5", *bench.python("traces.py", text))
    assert done.returncode == 125
    assert "is traced by process" in done.stderr
    assert "and no engine can checkpoint it; --allow-unprotected" in done.stderr


HOLDS = """
import ctypes, sys
libc = ctypes.CDLL(None)
kind, lock = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
libc.pthread_mutexattr_init(kind)
libc.pthread_mutexattr_setrobust(kind, 1)
libc.pthread_mutex_init(lock, kind)
for call in (libc.pthread_mutex_lock, libc.pthread_mutex_unlock):
    call(lock)
    print("done", flush=True)
    sys.stdin.readline()
"""


def test_a_robust_lock_is_in_the_way_while_it_is_held() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        held = kernel_obstacle(process.pid)
        assert held is not None
        assert held.is_temporary
        assert "holds a robust lock" in held.what
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        assert kernel_obstacle(process.pid) is None
        process.stdin.write("\n")
