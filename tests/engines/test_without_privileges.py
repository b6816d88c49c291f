"""What is different where CRIU has no privileges: what is refused and why, clocks, groups of a namespace of its own.

What an engine does in every way is in the other files, which run in this way too.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.criu import privileges
from kit.engines import CRASHES
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.plain_user_too

GROUP = 50771
"""A group that no machine has."""
MANY = 2048
FIVE_DAYS_S = 5 * 24 * 3600
SLEEPS = """
import time
began = time.monotonic()
for step in range(40):
    print(step, flush=True)
    time.sleep(0.1)
print(4 <= time.monotonic() - began < 1000)
"""
PRINTS_CAPABILITIES = """
print(next(line for line in open("/proc/self/status") if line.startswith("CapEff")).split()[1])
"""
MEMORY = """
import ctypes, mmap, os, time
fd = os.memfd_create("shared")
os.ftruncate(fd, 4096)
memory = mmap.mmap(fd, 4096)
for step in range(60):
    memory[0] = step
    print(step, os.pread(fd, 1, 0)[0], flush=True)
    time.sleep(0.1)
"""
SECCOMP = """
import ctypes, struct, time
ALLOW = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
program = ctypes.create_string_buffer(ALLOW)
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, ctypes.byref(Filter(1, ctypes.addressof(program))), 0, 0) == 0
while True:
    print("filtered", flush=True)
    time.sleep(0.1)
"""
HIDDEN = """
import ctypes, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
while True:
    print("hidden", flush=True)
    time.sleep(0.1)
"""
CONNECTED = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(server.getsockname())
other = server.accept()
while True:
    print("connected", flush=True)
    time.sleep(0.1)
"""
OUTSIDE = """
import socket, sys, time
one = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    print("connected", flush=True)
    time.sleep(0.1)
"""
TICKS = """
import ctypes, os, struct, time
libc = ctypes.CDLL(None)
fd = libc.timerfd_create(1, 0)
libc.timerfd_settime(fd, 0, struct.pack("4q", 0, 200_000_000, 0, 200_000_000), None)
for step in range(7):
    # it expires unread meanwhile
    for part in range(10):
        print(step, part, flush=True)
        time.sleep(0.1)
    os.read(fd, 8)
print("still ticking")
"""
HALF_CLOSED = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(server.getsockname())
other = server.accept()[0]
one.sendall(b"question")
one.shutdown(socket.SHUT_WR)
for step in range(60):
    print(step, flush=True)
    time.sleep(0.1)
print(b"".join(iter(lambda: other.recv(64), b"")))
"""
SEGMENTS = """
import ctypes, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
REMOVE = 0
{before}
segment = libc.shmget(0, 4096, 0o1600)
memory = ctypes.cast(libc.shmat(segment, None, 0), ctypes.POINTER(ctypes.c_int))
for step in range({steps}):
    memory[0] += step
    print(step, memory[0], flush=True)
    time.sleep(0.1)
"""


both_ways = pytest.mark.parametrize("first_s", [FIVE_DAYS_S, 0], ids=["behind", "ahead"])


def only_without_privileges(criu: EngineHere) -> None:
    if criu.user is None and os.geteuid() == 0:
        pytest.skip("with privileges CRIU can do it")


def test_memory_that_has_a_descriptor_and_no_name_stays_one_with_it(bench: Workbench, criu: EngineHere) -> None:
    del criu
    bench.assert_survives(bench.python("memory.py", MEMORY), times=2)


def test_a_periodic_timer_that_expired_unread_goes_on(bench: Workbench, criu: EngineHere) -> None:
    only_without_privileges(criu)
    bench.assert_survives(bench.python("ticks.py", TICKS), times=2)


@both_ways
def test_a_program_that_sleeps_goes_on_where_the_clocks_are_days(
    bench: Workbench, criu: EngineHere, first_s: int
) -> None:
    del criu
    program = bench.python("sleeps.py", SLEEPS)
    line = bench.line("-i", "1", "--stdout", "out.txt", *program)
    plain = bench.start_plain(*program)
    process = bench.start_line(with_clocks(first_s, line))
    bench.wait_generations(1, process)
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    assert bench.start_line(with_clocks(FIVE_DAYS_S - first_s, line)).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_files_that_only_a_supplementary_group_may_use_stay_usable_and_its_own(
    bench: Workbench, criu: EngineHere
) -> None:
    if criu.user is None or bench.engine is None or bench.engine.user is None:
        pytest.skip("only root gives another user groups")
    bench.engine = replace(bench.engine, user=replace(bench.engine.user, groups=(GROUP,)))
    shared, plain = (shared_folder(bench.folder.parent.parent / name) for name in ("shared", "plainly-shared"))
    program = bench.program("shares.py")
    alone = bench.start_plain(*program, str(plain), "50")
    line = ["-i", "1", "--stdout", "out.txt", *program, str(shared), "50"]
    bench.crash(line, times=2)
    assert bench.start(*line).wait(LONG_S) == alone.wait(LONG_S) == 0
    bench.assert_same("out.txt")
    assert content(shared) == content(plain)


def shared_folder(folder: Path) -> Path:
    """Make a folder whose files belong to its group, with files that nobody else may use."""
    folder.mkdir()
    for name, mode in (("read", 0o640), ("table", 0o660)):
        (folder / name).write_bytes(bytes(200))
        os.chown(folder / name, 0, GROUP)
        (folder / name).chmod(mode)
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2770)
    return folder


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return group and content of each file in FOLDER."""
    return {path.name: (path.stat().st_gid, path.read_bytes()) for path in sorted(folder.iterdir())}


@both_ways
def test_with_capabilities_clocks_go_on_and_the_program_has_none_of_them(
    bench: Workbench, criu: EngineHere, first_s: int
) -> None:
    program = bench.python("sleeps.py", SLEEPS + PRINTS_CAPABILITIES)
    line = bench.line("-i", "1", "--stdout", "out.txt", *program)
    environ = granted_capabilities(bench, criu)
    process = bench.start_line(with_clocks(first_s, line), env=environ)
    bench.wait_generations(1, process)
    assert bench.manifest["engine_way"] == "with capabilities"
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    again = with_clocks(FIVE_DAYS_S - first_s, line)
    assert bench.start_line(again, env=environ).wait(LONG_S) == 0, bench.said()
    assert (bench.folder / "out.txt").read_text().split()[-2:] == ["True", "0000000000000000"]


def test_with_capabilities_a_connection_that_is_shut_down_in_one_direction_goes_on(
    bench: Workbench, criu: EngineHere
) -> None:
    line = bench.line("-i", "1", "--stdout", "out.txt", *bench.python("half.py", HALF_CLOSED))
    environ = granted_capabilities(bench, criu)
    process = bench.start_line(line, env=environ)
    bench.wait_generations(1, process)
    assert bench.manifest["engine_way"] == "with capabilities"
    kill_all(process)
    assert bench.start_line(line, env=environ).wait(LONG_S) == 0, bench.said()
    assert bench.said("out.txt").splitlines()[-1] == "b'question'"


def granted_capabilities(bench: Workbench, criu: EngineHere) -> dict[str, str]:
    """Run the line of the administrator that doctor prints; return the environment of a line for which it holds."""
    tools = [shutil.which(name) for name in ("setpriv", "setcap")]
    if criu.user is None or None in tools:
        pytest.skip("only root grants capabilities to another user, by setcap, for a copy of setpriv")
    raiser = bench.folder.parent / "data" / "dmtcp-py" / "setpriv"
    raiser.parent.mkdir(parents=True)
    shutil.copy(str(tools[0]), raiser)
    # what is below becomes the user's, and a file that changes hands loses its capabilities
    bench.line("true")
    subprocess.run([str(tools[1]), f"{','.join(privileges.NEEDED)}+ep", raiser], check=True, timeout=LONG_S)
    return {**bench.environ, "XDG_DATA_HOME": str(raiser.parents[1])}


def with_clocks(ahead_s: int, line: Sequence[str]) -> list[str]:
    """Return LINE as on a machine whose clocks are AHEAD_S seconds ahead; skip where there are no such namespaces."""
    ahead = [f"--monotonic={ahead_s}", f"--boottime={ahead_s}"]
    spaces = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"]), "--time", *ahead]
    if shutil.which("unshare") is None or subprocess.run([*spaces, "--fork", "true"], check=False).returncode:
        pytest.skip("no time namespace can be made here")
    return [*spaces, "--fork", "--kill-child", *line]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SECCOMP, "filters its system calls (seccomp)"),
        (HIDDEN, "hides its memory from its own user"),
        (CONNECTED, "add --network own"),
    ],
    ids=["seccomp", "hidden", "connected"],
)
def test_what_cannot_be_checkpointed_is_refused_before_the_first_checkpoint(
    bench: Workbench, criu: EngineHere, text: str, reason: str
) -> None:
    only_without_privileges(criu)
    done = bench.run("-i", "0.5", "--stdout", "out.txt", *bench.python("refused.py", text))
    assert done.returncode == 125, done.stderr
    assert reason in done.stderr
    assert "refused.py" in done.stderr or "(python" in done.stderr
    assert bench.generations == []


def test_a_connection_to_another_program_is_refused_by_its_address(bench: Workbench, criu: EngineHere) -> None:
    only_without_privileges(criu)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = bench.run("-i", "0.5", "--stdout", "out.txt", *bench.python("outside.py", OUTSIDE), port)
    assert done.returncode == 125, done.stderr
    assert f"127.0.0.1 port {port}, outside the program" in done.stderr


def test_connections_within_the_program_go_on_in_a_network_of_its_own(bench: Workbench, criu: EngineHere) -> None:
    del criu
    bench.assert_survives(
        bench.program("sockets.py", "tcp", 60), options=["-v", "-i", "1", "--network", "own"], times=2
    )
    assert "with a network of the program's own: --network own" in bench.said()
    assert bench.manifest["engine_way"].endswith(", with a network of the program's own")


def test_an_engine_without_networks_is_refused_for_a_program_that_is_to_have_one(
    bench: Workbench, one_dmtcp: EngineHere
) -> None:
    del one_dmtcp
    done = bench.run("--engine", "dmtcp", "--network", "own", "true")
    assert done.returncode == 125
    assert "--network own needs CRIU" in done.stderr


def test_system_v_memory_goes_on(bench: Workbench, criu: EngineHere) -> None:
    del criu
    bench.assert_survives(bench.python("segments.py", SEGMENTS.format(before="", steps=60)), times=2)


def test_system_v_memory_that_was_made_after_other_was_removed_has_its_number_still(
    bench: Workbench, criu: EngineHere
) -> None:
    only_without_privileges(criu)
    before = "libc.shmctl(libc.shmget(0, 4096, 0o1600), REMOVE, None)"
    program = bench.python("segments.py", SEGMENTS.format(before=before, steps=60))
    if can_choose_numbers():
        bench.assert_survives(program)
    else:
        done = bench.run("-i", "0.5", "--stdout", "out.txt", *program)
        assert done.returncode == 125, done.stderr
        assert "has System V objects" in done.stderr


WATCHES = """
import ctypes, time
libc = ctypes.CDLL(None)
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, b".", 0x100) > 0
for step in range(400):
    print(step, flush=True)
    time.sleep(0.1)
"""


def test_watches_on_files_are_refused_by_name(bench: Workbench, criu: EngineHere) -> None:
    only_without_privileges(criu)
    done = bench.run("-i", "0.5", "--stdout", "out.txt", *bench.python("watches.py", WATCHES))
    assert done.returncode == 125, done.stderr
    assert "watches files (inotify or fanotify)" in done.stderr
    assert bench.generations == []


def test_children_that_are_not_waited_for_keep_their_statuses(bench: Workbench, criu: EngineHere) -> None:
    only_without_privileges(criu)
    text = """
import subprocess, time
ended = [subprocess.Popen(["sh", "-c", f"exit {status}"]) for status in (7, 0, 5)]
for step in range(60):
    print(step, flush=True)
    time.sleep(0.1)
print([one.wait() for one in ended])
"""
    bench.assert_survives(bench.python("ended.py", text))


def test_children_that_were_killed_keep_their_statuses_in_each_life(bench: Workbench, criu: EngineHere) -> None:
    del criu
    text = """
import os, signal, time
killed = []
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
    killed.append(os.fork())
    if killed[-1] == 0:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
for step in range(90):
    print(step, flush=True)
    time.sleep(0.1)
print([os.waitpid(pid, 0)[1] & 0x7f for pid in killed])
"""
    bench.assert_survives(bench.python("killed.py", text), times=2)


def test_a_child_whose_status_the_kernel_hides_is_not_checkpointed(bench: Workbench, criu: EngineHere) -> None:
    only_without_privileges(criu)
    text = """
import ctypes, os, time
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    os._exit(3)
for step in range(60):
    print(step, flush=True)
    time.sleep(0.1)
print(os.waitpid(child, 0)[1])
"""
    line = ["-i", "0.5", "--stdout", "out.txt", *bench.python("hides.py", text)]
    process = bench.start(*line)
    wait_until(lambda: bench.generations or "the kernel does not show its status" in bench.said())
    if bench.generations:
        # as older kernels do: it is in the images
        kill_all(process)
        process = bench.start(*line)
    assert process.wait(LONG_S) == 0
    assert bench.said("out.txt").splitlines()[-1] == "768"


def test_a_program_that_has_more_files_open_than_it_may_at_its_start_goes_on(
    bench: Workbench, criu: EngineHere
) -> None:
    del criu
    text = """
import os, resource, time
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
here = os.open(".", os.O_RDONLY)
os.dup2(here, soft + 5)
for step in range(60):
    print(step, os.path.samestat(os.fstat(soft + 5), os.fstat(here)), flush=True)
    time.sleep(0.1)
"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < MANY:
        pytest.skip("the limit on open files is too low")
    bench.assert_survives(["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *bench.python("many.py", text)])


def test_a_program_that_leaves_criu_no_descriptors_is_refused(bench: Workbench, criu: EngineHere) -> None:
    only_without_privileges(criu)
    text = """
import os, time
os.dup2(0, 1020)
for step in range(200):
    print(step, flush=True)
    time.sleep(0.1)
"""
    line = bench.line("-i", "0.5", "--stdout", "out.txt", *bench.python("most.py", text))
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", *line],
        cwd=bench.folder,
        env=bench.environ,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 125, done.stderr
    assert "has descriptor 1020 open, and CRIU needs" in done.stderr
    assert bench.generations == []


def can_choose_numbers() -> bool:
    """Whether the kernel lets who owns an IPC namespace choose the numbers of objects, as from Linux 6.0 on."""
    spaces = ["unshare", "--user", "--map-current-user", "--keep-caps", "--ipc"]
    asked = [*spaces, "sh", "-c", ": > /proc/sys/kernel/shm_next_id"]
    return subprocess.run(asked, check=False, capture_output=True, timeout=LONG_S).returncode == 0


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("user", "making a user namespace"),
        ("mnt", "making the PID and mount namespaces"),
        ("pid", "making the PID and mount namespaces"),
        ("ipc", "making an IPC namespace"),
    ],
)
def test_doctor_says_which_step_failed_and_what_an_administrator_can_set(
    bench: Workbench, criu: EngineHere, kind: str, step: str
) -> None:
    only_without_privileges(criu)
    setting = f"/proc/sys/user/max_{kind}_namespaces"
    off = f'echo 0 > {setting} && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"'
    words = bench.line()
    typed = words[: words.index("--") + 1] if criu.user else []
    inner = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", off, "sh"]
    ctl = [str(word).replace("dmtcp-run", "dmtcp-ctl") for word in words[len(typed) : len(typed) + 1]]
    done = subprocess.run(
        [*typed, *inner, *ctl, "doctor"],
        env=bench.environ,
        cwd=bench.folder,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    # where another engine works, only the line about CRIU as a whole says why it does not
    (row,) = [line for line in done.stdout.splitlines() if "engine criu" in line]
    assert step in row
    assert "ENOSPC" in row
    assert f"sysctl user.max_{kind}_namespaces=" in row


def test_whether_it_works_was_found_out() -> None:
    """Where the search crashes, nothing runs as an ordinary user, and nothing else would say so."""
    assert CRASHES == []
