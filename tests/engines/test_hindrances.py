"""What DMTCP cannot take is told before it hangs, and refused, unless the user wants it to run all the same."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.engines import EngineHere, kernel_gives_rings
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench

STATIC = """
#include <unistd.h>
int main(void) {
    for (int i = 0; i < 80; i++)
        usleep(100000);
    return 3;
}
"""
SPAWN = """
import multiprocessing, time

def work(seconds):
    time.sleep(seconds)
    return 7

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(work, (8,)), flush=True)
"""
SENT = """
import os, socket, subprocess, sys, time
near, far = socket.socketpair()
what, then = sys.argv[1:]
reading, writing = os.pipe()
if what == "socket":
    reading, writing = (one.detach() for one in socket.socketpair())
if what == "memory":
    writing = os.open(f"/dev/shm/sent-{time.monotonic_ns()}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.unlink(os.readlink(f"/proc/self/fd/{writing}"))
if what == "file":
    writing = os.open("of two\\nlines", os.O_CREAT | os.O_RDWR)
if os.fork() == 0:
    socket.send_fds(far, [b"one"], [writing])
    os._exit(0)
os.close(writing)
(writing,) = socket.recv_fds(near, 3, 1)[1]
os.write(writing, b"1")
if then == "copy":
    copy = os.dup(writing)
if then == "hand on":
    child = subprocess.Popen(["sleep", "6"], stdout=writing)
if then != "keep":
    os.close(writing)
time.sleep(6)
print("done")
"""
MANY_THREADS = """
import os, threading, time
memory = os.memfd_create("memory")
end = time.monotonic() + 12
def start_others():
    while time.monotonic() < end:
        other = threading.Thread(target=time.sleep, args=(0.001,))
        other.start()
        other.join()
threads = [threading.Thread(target=start_others) for _ in range(4)]
for thread in threads:
    thread.start()
"""
SENDING = """
import os, socket, sys, time
near, far = socket.socketpair()
rounds, first, before, after = int(sys.argv[1]), *map(float, sys.argv[2:])
if os.fork() == 0:
    near.close()
    for number in range(rounds):
        time.sleep(before)
        data, sent = socket.recv_fds(far, 1, 1)[:2]
        time.sleep(after)
        print(number, [os.read(one, 4) for one in sent], flush=True)
        for one in sent:
            os.close(one)
        far.send(data)
    os._exit(0)
far.close()
time.sleep(first)
for number in range(rounds):
    with open("sent.txt", "w+") as file:
        file.write("data")
        file.seek(0)
        socket.send_fds(near, [b"1"], [file.fileno()])
    near.recv(1)
os.wait()
print("done", flush=True)
"""
CONNECTED = """
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    time.sleep(float(sys.argv[2]))
    connection.sendall(b"x")
    print(connection.recv(1), flush=True)
time.sleep(float(sys.argv[3]))
print("done", flush=True)
"""


RELEASED = """
import os, socket, sys, time
def wait(name):
    while not os.path.exists(name):
        time.sleep(0.05)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    wait("disconnect")
    connection.sendall(b"x")
    print(connection.recv(1), flush=True)
wait("end")
print("done", flush=True)
"""
CONNECTED_BY_NAME = """
import socket, sys, time
kind, place, first, then = sys.argv[1:]
if kind == "udp":
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.connect(("127.0.0.1", int(place)))
else:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM)
    connection.connect("\\0" + place if kind == "abstract" else place)
time.sleep(float(first))
connection.send(b"x")
connection.close()
time.sleep(float(then))
print("done", flush=True)
"""
OWN_PAIR = """
import os, socket, time
mine, other = socket.socketpair()
if os.fork() == 0:
    for _ in range(30):
        other.send(other.recv(1))
    os._exit(0)
for step in range(30):
    mine.send(b"x")
    print(step, mine.recv(1), flush=True)
    time.sleep(0.1)
os.wait()
"""
OVER_IPV6 = """
import os, socket, sys, time
kind, steps = sys.argv[1], int(sys.argv[2])
server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
port = server.getsockname()[1]
if kind == "listening":
    for step in range(steps):
        print(step, flush=True)
        time.sleep(0.1)
if os.fork() == 0:
    connection = server.accept()[0]
    while byte := connection.recv(1):
        connection.sendall(byte)
    os._exit(0)
with socket.create_connection(("127.0.0.1" if kind == "to IPv4" else "::1", port)) as client:
    for step in range(steps if kind != "listening" else 1):
        client.sendall(b"x")
        print(step, client.recv(1), flush=True)
        time.sleep(0.1)
os.wait()
print("done", flush=True)
"""
HALF_CLOSED = """
import os, socket, sys, time
kind, steps = sys.argv[1], int(sys.argv[2])
if kind == "a pair":
    mine, other = socket.socketpair()
else:
    server = socket.create_server(("127.0.0.1", 0))
    mine, other = socket.create_connection(server.getsockname()), server.accept()[0]
if os.fork() == 0:
    mine.close()
    question = b"".join(iter(lambda: other.recv(64), b""))
    time.sleep(steps / 10)
    other.sendall(b"answer to " + question)
    os._exit(0)
other.close()
mine.sendall(b"question")
mine.shutdown(socket.SHUT_WR)
for step in range(steps):
    print(step, flush=True)
    time.sleep(0.1)
print(b"".join(iter(lambda: mine.recv(64), b"")), flush=True)
os.wait()
"""
ON_A_DEVICE = """
import sys, time
with open(sys.argv[1]) as device:
    time.sleep(8)
"""
LOSES = """
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None)

def udp():
    pair = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
    for one in pair:
        one.bind(("127.0.0.1", 0))
    for one, other in (pair, pair[::-1]):
        one.connect(other.getsockname())
    return pair

kept = {
    "timerfd": lambda: libc.timerfd_create(1, 0),
    "signalfd": lambda: libc.signalfd(-1, bytes(128), 0),
    "pseudo-terminal": os.openpty,
    "memfd": lambda: os.memfd_create("kept"),
    "O_TMPFILE": lambda: os.open(".", os.O_TMPFILE | os.O_RDWR),
    "UDP": udp,
    "SOCK_DGRAM": lambda: socket.socketpair(type=socket.SOCK_DGRAM),
    "SOCK_SEQPACKET": lambda: socket.socketpair(type=socket.SOCK_SEQPACKET),
}[sys.argv[1]]()
assert kept != -1
time.sleep(8)
"""
WITH_A_FIFO = """
import os, sys, time
os.mkfifo("fifo")
fd = os.open("fifo", os.O_RDWR)
os.unlink("fifo")
time.sleep(float(sys.argv[1]))
os.close(fd)
time.sleep(float(sys.argv[2]))
print("done", flush=True)
"""


@pytest.fixture
def dmtcp(engine: EngineHere, bench: Workbench) -> EngineHere:
    """Give the engine where it is a DMTCP; lines ask for it by name, because CRIU would take its place."""
    if engine.name != "dmtcp":
        pytest.skip("CRIU takes these")
    bench.engine = engine.by_name
    return bench.engine


@pytest.fixture
def static_child(bench: Workbench) -> list[str | Path]:
    """Give the line of a script that runs a static program for 8 s."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no C compiler on this machine")
    source, program = bench.folder.parent / "static.c", bench.folder.parent / "static"
    source.write_text(STATIC)
    subprocess.run(["gcc", "-static", "-o", program, source], check=True, timeout=LONG_S)
    script = bench.folder.parent / "script.sh"
    script.write_text(f"echo before\n{program}\necho after $?\n")
    return ["bash", script]


@pytest.fixture
def port() -> Iterator[int]:
    """Give the port of a server that says what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(1))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_program_with_a_static_child_is_refused_and_both_ways_on_are_named(
    bench: Workbench, dmtcp: EngineHere, static_child: list[str | Path]
) -> None:
    assert dmtcp
    done = bench.run("-i", "0.5", *static_child)
    assert done.returncode == 125
    assert "(static) does not run under DMTCP" in done.stderr
    assert "--engine criu can checkpoint it; or run it with --allow-unprotected" in done.stderr
    assert done.stdout == "before\n"


def test_it_runs_to_its_end_where_that_is_allowed(
    bench: Workbench, dmtcp: EngineHere, static_child: list[str | Path]
) -> None:
    assert dmtcp
    done = bench.run("-i", "1", "--allow-unprotected", *static_child)
    assert done.returncode == 0
    assert done.stdout == "before\nafter 3\n"
    assert done.stderr.count("does not run under DMTCP") == 1, "told once, not at every interval"


def test_processes_that_python_spawned_are_refused_where_the_plugin_is_not(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run_without("plugin forks", "-i", "0.5", *bench.python("spawn.py", SPAWN))
    assert done.returncode == 125
    assert "spawn or forkserver" in done.stderr


@pytest.mark.parametrize(
    ("what", "then", "is_named"),
    [
        ("socket", "keep", "socket:"),
        ("socket", "copy", "socket:"),
        ("socket", "hand on", "socket:"),
        ("file", "keep", "/"),
        ("memory", "close", "/dev/shm/"),
    ],
)
def test_what_another_process_sent_is_refused_before_it_is_lost(
    bench: Workbench, dmtcp: EngineHere, what: str, then: str, is_named: str
) -> None:
    """The processes of Python's start method `forkserver` have such, and of PyTorch's DataLoader with workers."""
    assert dmtcp
    done = bench.run("-i", "0.5", *bench.python("sent.py", SENT), what, then)
    assert done.returncode == 125
    assert f"has a descriptor that another process sent it ({is_named}" in done.stderr
    assert "--engine criu can checkpoint it; Python sends no descriptors with multiprocessing's methods" in done.stderr


@pytest.mark.parametrize(("what", "then"), [("socket", "close"), ("pipe", "close"), ("pipe", "copy")])
def test_a_pipe_that_was_sent_and_a_socket_that_is_closed_again_hinder_nothing(
    bench: Workbench, dmtcp: EngineHere, what: str, then: str
) -> None:
    assert dmtcp
    program = ["--stdout", "out.txt", *bench.python("sent.py", SENT), what, then]
    process = bench.start("-i", "1", *program)
    bench.wait_generations(1, process)
    kill_all(process)
    assert bench.run(*program).returncode == 0
    assert (bench.folder / "out.txt").read_text() == "done\n"


def test_what_is_lost_is_seen_however_many_threads_come_and_go(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("-i", "0.5", "--allow-unprotected", *bench.python("threads.py", MANY_THREADS))
    assert done.returncode == 0
    assert bench.events.count("failed") > 1
    assert "checkpointed" not in bench.events


@pytest.mark.parametrize(("before", "after"), [("0.05", "0"), ("0", "0.05")])
def test_what_is_sent_arrives_whatever_a_checkpoint_meets(
    bench: Workbench, dmtcp: EngineHere, before: str, after: str
) -> None:
    """Without care 9 of 13 checkpoints lost one, where each waits for 50 ms to be received."""
    assert dmtcp
    program = ["--stdout", "out.txt", *bench.python("sending.py", SENDING), "120", "2.5", before, after]
    process = bench.start("-i", "0.5", *program)
    bench.wait_generations(4, process)
    kill_all(process)
    done = bench.run("-i", "0.5", *program)
    assert done.returncode == 0, done.stderr
    arrived = "".join(f"{number} [b'data']\n" for number in range(120))
    assert (bench.folder / "out.txt").read_text() == f"{arrived}done\n"


def test_a_checkpoint_waits_for_what_was_sent_to_be_received(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("-i", "0.5", *bench.python("sending.py", SENDING), "1", "0", "5", "0")
    assert (done.returncode, done.stdout) == (0, "0 [b'data']\ndone\n"), done.stderr


def test_a_connection_that_ends_in_time_only_delays_the_first_checkpoint(
    bench: Workbench, dmtcp: EngineHere, port: int
) -> None:
    assert dmtcp
    process = bench.start("-i", "2", "--stdout", "out.txt", *bench.python("released.py", RELEASED), str(port))
    bench.wait_said(f"the program is connected to 127.0.0.1 port {port}", process)
    (bench.folder / "disconnect").touch()
    bench.wait_generation(1)
    (bench.folder / "end").touch()
    assert process.wait(LONG_S) == 0
    assert bench.said("out.txt") == "b'x'\ndone\n"


def test_a_program_that_stays_connected_is_refused(bench: Workbench, dmtcp: EngineHere, port: int) -> None:
    assert dmtcp
    program = [*bench.python("connected.py", CONNECTED), str(port), "20", "0"]
    done = bench.run("-i", "0.5", *program)
    assert done.returncode == 125
    assert done.stdout == ""


def test_a_program_that_was_safe_before_runs_on_and_each_time_it_is_told_where_a_resume_would_begin(
    bench: Workbench, dmtcp: EngineHere, port: int
) -> None:
    assert dmtcp
    connected = [str(word) for word in (*bench.python("connected.py", CONNECTED), port, "16", "0")]
    # it connects between two checkpoints: one that begins just then would be told what is meant for DMTCP
    done = bench.run("-i", "3", "sh", "-c", 'sleep 4; exec "$@"', "sh", *connected)
    assert done.returncode == 0
    newest = bench.generations[-1]
    assert done.stderr.count(f"and a resume would start from generation {newest}\n") > 1


@pytest.mark.parametrize("kind", ["a name in the file system", "abstract", "datagrams", "udp"])
def test_other_connections_to_others_are_found_before_a_checkpoint_hangs(
    bench: Workbench, dmtcp: EngineHere, kind: str
) -> None:
    """As to a daemon: X11, dbus, munge, nscd, postgres. What ends in time only delays."""
    assert dmtcp
    place = str(bench.folder.parent / "socket")
    with _server(kind, place) as server:
        if kind == "udp":
            place = str(server.getsockname()[1])
        program = [*bench.python("by_name.py", CONNECTED_BY_NAME), kind, place]
        refused = bench.run("--job", "stays", "-i", "0.5", *program, "20", "0")
        delayed = bench.run("--job", "ends", "-i", "1", *program, "1.5", "5")
    assert refused.returncode == 125
    named = (
        f"127.0.0.1 port {place}" if kind == "udp" else f"{'@' if kind == 'abstract' else ''}{place} (a Unix socket)"
    )
    assert f"the program is connected to {named}" in refused.stderr
    assert (delayed.returncode, delayed.stdout) == (0, "done\n")
    assert "committed (interval" in delayed.stderr, "a checkpoint was taken once the connection had ended"


def _server(kind: str, place: str) -> socket.socket:
    datagrams = kind in ("udp", "datagrams")
    server = socket.socket(
        socket.AF_INET if kind == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    )
    server.bind(("127.0.0.1", 0) if kind == "udp" else f"\0{place}" if kind == "abstract" else place)
    if not datagrams:
        server.listen()
    return server


def test_sockets_among_its_own_processes_are_no_hindrance(bench: Workbench, engine: EngineHere) -> None:
    del engine
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("pair.py", OWN_PAIR)]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    assert bench.run(*line).returncode == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step} b'x'\n" for step in range(30))


@pytest.mark.parametrize("kind", ["to IPv4", "to IPv6"])
def test_connections_over_ipv6_among_its_own_processes_are_found_before_images_that_never_come_up(
    bench: Workbench, dmtcp: EngineHere, kind: str
) -> None:
    """DMTCP takes an image of them in peace."""
    assert dmtcp
    done = bench.run("-i", "0.5", *bench.python("ipv6.py", OVER_IPV6), kind, "80")
    assert done.returncode == 125
    assert "the program is connected over IPv6 (" in done.stderr
    assert "--engine criu can checkpoint it, or use 127.0.0.1 at both ends" in done.stderr
    assert bench.generations == []


@pytest.mark.plain_user_too
def test_criu_takes_connections_over_ipv6(bench: Workbench, criu: EngineHere) -> None:
    assert criu
    _comes_through(bench, *bench.python("ipv6.py", OVER_IPV6), "to IPv6", "30")


HIDDEN = "import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); time.sleep(20)"


def test_a_process_that_hides_its_memory_is_named(bench: Workbench, dmtcp: EngineHere) -> None:
    if os.geteuid() == 0:
        pytest.skip("from root nothing is hidden")
    done = bench.run("--engine", dmtcp.name, "-i", "0.5", *bench.python("hidden.py", HIDDEN))
    assert done.returncode == 125
    assert "hides its memory from its own user (PR_SET_DUMPABLE), and DMTCP runs as that user" in done.stderr


@pytest.mark.parametrize("kind", ["a pair", "TCP"])
def test_a_connection_that_is_shut_down_in_one_direction_is_refused_before_it_is_lost(
    bench: Workbench, dmtcp: EngineHere, kind: str
) -> None:
    """The answer would meet a closed connection."""
    assert dmtcp
    line = ["-i", "0", "--job", "half", "--stdout", "out.txt", *bench.python("half.py", HALF_CLOSED), kind, "80"]
    process = bench.start(*line)
    bench.wait_lines(1, process)
    refused = bench.ctl("checkpoint", "half")
    assert refused.returncode == 1
    assert "has shut down one direction of a connection between its sockets" in refused.stderr
    assert bench.generations == []
    assert process.wait(LONG_S) == 0
    assert (bench.folder / "out.txt").read_text().endswith("\nb'answer to question'\n")


@pytest.mark.plain_user_too
@pytest.mark.parametrize("kind", ["a pair", "TCP"])
def test_criu_takes_connections_that_are_shut_down_in_one_direction(
    bench: Workbench, criu: EngineHere, kind: str
) -> None:
    assert criu
    _comes_through(bench, *bench.python("half.py", HALF_CLOSED), kind, "30")


def test_a_program_that_listens_over_ipv6_comes_through(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    _comes_through(bench, *bench.python("ipv6.py", OVER_IPV6), "listening", "30")


def _comes_through(bench: Workbench, *program: str) -> None:
    plain = bench.start_plain(*program)
    network = bench.engine.to_itself if bench.engine else ()
    line = ["-i", "1", *network, "--stdout", "out.txt", *program]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    assert bench.run(*line).returncode == 0
    assert plain.wait(LONG_S) == 0
    assert bench.events.count("resumed") == 1
    bench.assert_same("out.txt")


def test_a_program_on_a_gpu_is_refused(bench: Workbench, dmtcp: EngineHere) -> None:
    """A device of that name stands for the GPU: it is looked at by its name."""
    assert dmtcp
    device = Path("/dev/nvidia9")
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"no device can be made here: {error.strerror}")
    try:
        done = bench.run("-i", "0.5", *bench.python("device.py", ON_A_DEVICE), device)
    finally:
        device.unlink()
    assert done.returncode == 125
    assert "uses /dev/nvidia9, and DMTCP cannot checkpoint a GPU; --allow-unprotected" in done.stderr


@pytest.mark.parametrize(
    "kind",
    ["timerfd", "signalfd", "pseudo-terminal", "memfd", "O_TMPFILE", "UDP", "SOCK_DGRAM", "SOCK_SEQPACKET"],
)
def test_what_a_restart_would_lose_is_refused_before_any_work_is(
    bench: Workbench, dmtcp: EngineHere, kind: str
) -> None:
    """The program would find it closed, or wait for ever; files without a name are made with one by the plugin."""
    assert dmtcp
    done = bench.run_without("plugin files", "-i", "0.5", *bench.python("loses.py", LOSES), kind)
    assert done.returncode == 125
    assert kind in done.stderr
    assert "DMTCP does not restore" in done.stderr
    assert "--engine criu can checkpoint it" in done.stderr


def test_a_program_with_a_ring_of_io_uring_is_refused_before_a_checkpoint_kills_it(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    if not kernel_gives_rings():
        pytest.skip("the kernel gives nobody a ring")
    done = bench.run("-i", "0.3", *bench.program("uring.py"))
    assert done.returncode == 125
    assert "uses io_uring, which DMTCP cannot checkpoint; --engine criu can checkpoint programs" in done.stderr
    assert "the engine failed" not in done.stderr


def test_a_setuid_program_is_refused_and_as_a_child_before_a_checkpoint(bench: Workbench, dmtcp: EngineHere) -> None:
    """DMTCP would run a copy without its privileges."""
    assert dmtcp
    if os.geteuid() != 0:
        pytest.skip("only root can make a setuid program of another user's")
    sleep = shutil.which("sleep")
    assert sleep
    copy = bench.folder.parent / "sleep"
    shutil.copy(sleep, copy)
    os.chown(copy, 65534, 65534)
    copy.chmod(0o4755)
    done = bench.run("-i", "0.5", "bash", "-c", f"{copy} 8; echo after")
    assert done.returncode == 125
    assert "(sleep) is a setuid program" in done.stderr
    assert "--allow-unprotected" in done.stderr
    refused = bench.run("--engine", "dmtcp", "--job", "alone", str(copy), "8")
    assert refused.returncode == 125
    assert "it is a setuid program" in refused.stderr


def test_a_program_that_no_engine_takes_runs_unprotected_where_that_is_allowed(
    bench: Workbench, dmtcp: EngineHere, static_child: list[str | Path]
) -> None:
    assert dmtcp
    program = bench.folder.parent / "static"
    assert static_child
    done = bench.run("--engine", "dmtcp", "-i", "0", "--allow-unprotected", "--stdout", "out.txt", program)
    assert done.returncode == 3
    assert "started with none (unprotected)" in done.stderr


def test_a_fifo_whose_name_is_gone_is_told_and_survived(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("-i", "2", "--stdout", "out.txt", *bench.python("fifo.py", WITH_A_FIFO), "3", "4")
    assert (done.returncode, (bench.folder / "out.txt").read_text()) == (0, "done\n"), done.stderr
    assert "/fifo (deleted) open, which DMTCP cannot checkpoint" in done.stderr
    assert "checkpointed" in bench.events


def test_what_the_scheduler_launches_is_refused_at_once(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    srun = bench.folder / "srun"
    srun.write_text("#!/bin/sh\necho started\n")
    srun.chmod(0o755)
    done = bench.run(srun, "-n", "2", "./a")
    assert (done.returncode, done.stdout) == (125, "")
    assert "srun has the scheduler's daemons start the program's processes" in done.stderr
    assert "dmtcp-run mpirun" in done.stderr
