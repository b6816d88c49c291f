"""What is CRIU's alone: namespaces, files put back, streams of any kind after any other."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.bench import counted
from kit.engines import EngineHere, kernel_gives_rings
from kit.long_form import NO_LONG_TESTS
from kit.paths import path_without
from kit.processes import descendants, kill_all
from kit.programs import without_environment
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kit.bench import Workbench

pytestmark = pytest.mark.plain_user_too

BIG_LEDGER = """
import time
with open("big.dat", "w+b") as big:
    big.write(bytes(range(1, 251)) * 160_000)
    big.flush()
    for step in range(30):
        print(step, flush=True)
        time.sleep(0.1)
"""
CRIU_TOO_LATE = """#!/bin/sh
case " $* " in *" dump "*/.dmtcp-run/*)
    touch {begun}
    tree=$(echo "$*" | sed 's/.*--tree \\([0-9]*\\).*/\\1/')
    while kill -0 "$tree" 2>/dev/null; do sleep 0.05; done ;;
esac
exec {criu} "$@"
"""
"""A criu that takes no image of a job before the program has ended."""
KINDS = ("file", "pipe", "terminal", "nothing")


@pytest.mark.parametrize("tool", ["tar", "cp", "unshare"])
def test_a_tool_that_criu_needs_and_that_is_not_here_is_named(
    bench: Workbench, criu: EngineHere, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del criu
    monkeypatch.setenv("PATH", path_without(tool, bench.folder.parent / "path"))
    done = bench.run("touch", "begun")
    assert done.returncode == 125
    assert f"there is no {tool} on PATH, which the CRIU engine needs; install " in done.stderr
    assert not (bench.folder / "begun").exists()


@pytest.mark.parametrize("how", ["append", "write"])
def test_what_was_written_after_the_image_is_taken_away_again(bench: Workbench, criu: EngineHere, how: str) -> None:
    del criu
    bench.assert_survives(bench.counting(30, **{how: "log.txt"}), "log.txt")


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, 3)


def _replace(path: Path) -> None:
    size = path.stat().st_size
    path.rename(path.with_name("old.txt"))
    path.write_text("x" * size)


@pytest.mark.parametrize("damage", [_remove, _cut, _replace])
def test_a_file_that_cannot_be_what_it_was_is_named_and_nothing_is_started(
    bench: Workbench, criu: EngineHere, damage: Callable[[Path], None]
) -> None:
    del criu
    line = ["-i", "1", "--keep", "1", "--stdout", "out.txt", *bench.counting(300, append="log.txt")]
    bench.crash(line)
    damage(bench.folder / "log.txt")
    before = {path.name: path.read_bytes() for path in bench.folder.glob("*.txt") if path.name != "stderr.txt"}
    done = bench.run(*line)
    assert done.returncode == 125
    assert "log.txt" in done.stderr
    assert before == {path.name: path.read_bytes() for path in bench.folder.glob("*.txt") if path.name != "stderr.txt"}


def test_a_file_that_was_copied_elsewhere_and_back_is_known_again(bench: Workbench, criu: EngineHere) -> None:
    del criu
    program = bench.counting(60, append="log.txt")
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line)
    shutil.copy2(bench.folder / "log.txt", bench.folder / "copy")
    (bench.folder / "copy").rename(bench.folder / "log.txt")
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "log.txt")


@contextmanager
def _output(kind: str, path: Path) -> Iterator[int]:
    """Yield a descriptor of KIND; what is written to it is in PATH at the end, but where nobody takes it."""
    if kind == "nothing":
        fd = os.open(os.devnull, os.O_WRONLY)
        yield fd
        os.close(fd)
        return
    if kind == "file":
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        yield fd
        os.close(fd)
        return
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    thread = threading.Thread(target=_carry, args=(reader, path))
    thread.start()
    yield writer
    os.close(writer)
    thread.join(LONG_S)


def _carry(reader: int, path: Path) -> None:
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while block := os.read(reader, 65536):
            file.write(block.replace(b"\r\n", b"\n"))
    os.close(reader)


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_output_goes_on_to_whatever_the_next_life_is_given(
    bench: Workbench, criu: EngineHere, first: str, second: str
) -> None:
    del criu
    line = ["-i", "0", *bench.counting(25, terminal=True)]
    outs = [bench.folder / "first.txt", bench.folder / "second.txt"]
    with _output(first, outs[0]) as fd:
        process = bench.start(*line, stdout=fd)
        bench.wait_said("started", process)
        if first == "nothing":
            bench.wait_beyond_checkpoint(process, by=None)
        else:
            bench.wait_lines(3, process, "first.txt")
        process.terminate()
        assert process.wait(LONG_S) == 85
    with _output(second, outs[1]) as fd:
        assert bench.start(*line, stdout=fd).wait(LONG_S) == 0
    *steps, done = counted(25).decode().splitlines()
    expected = [*(f"{line} {first == 'terminal'}" for line in steps), done]
    lives = [out.read_text().splitlines() if out.exists() else None for out in outs]
    if lives[0] is None or lives[1] is None:
        assert all(life is None or set(life) <= set(expected) for life in lives)
        assert lives[1] is None or expected[-1] == lives[1][-1]
    else:
        assert lives[0] + lives[1] == expected
        assert lives[0]
        assert lives[1]


def test_standard_input_from_a_terminal_is_read_on_from_another(bench: Workbench, criu: EngineHere) -> None:
    pexpect = pytest.importorskip("pexpect")
    del criu
    words = bench.line("-i", "0", "sh", "-c", 'while read -r word; do echo "got $word"; done; echo end')
    lives = {"env": bench.environ, "cwd": str(bench.folder), "timeout": LONG_S, "encoding": "utf-8"}
    first = pexpect.spawn(words[0], words[1:], **lives)
    first.expect("started")
    first.sendline("one")
    first.expect("got one")
    first.sendintr()
    first.expect("generation 1")
    first.expect(pexpect.EOF)
    first.close()
    assert first.exitstatus == 85
    second = pexpect.spawn(words[0], words[1:], **lives)
    second.expect("resumed")
    second.sendline("two")
    second.expect("got two")
    second.sendeof()
    second.expect("end")
    second.expect("finished with status 0")
    second.expect(pexpect.EOF)
    second.close()
    assert second.exitstatus == 0


def test_the_end_of_a_reader_ends_the_program_as_without_us(bench: Workbench, criu: EngineHere) -> None:
    del criu
    reader, writer = os.pipe()
    process = bench.start("-i", "0", "yes", stdout=writer)
    os.close(writer)
    assert os.read(reader, 4) == b"y\ny\n"
    os.close(reader)
    assert process.wait(LONG_S) == 128 + signal.SIGPIPE


def test_all_of_a_large_output_arrives(bench: Workbench, criu: EngineHere) -> None:
    del criu
    program = ["seq", "1", "300000"]
    done = bench.run("-i", "0", *program)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [str(number) for number in range(1, 300001)]


def test_nothing_outlives_a_killed_dmtcp_run(bench: Workbench, criu: EngineHere) -> None:
    del criu
    process = bench.start("-i", "0", "--stdout", "out.txt", *bench.counting(300))
    bench.wait_lines(2, process)
    below = descendants(process.pid)
    assert len(below) >= 4
    process.kill()
    process.wait(LONG_S)
    wait_until(lambda: not any(one.is_running() and one.status() != "zombie" for one in below), 5)


@pytest.mark.parametrize("end", ["exit 143", "exit 200", "exit 255", "kill -TERM $$", "kill -SEGV $$", "kill -KILL $$"])
@pytest.mark.parametrize("life", ["first", "second"])
def test_a_status_above_128_is_told_from_a_death_by_a_signal(
    bench: Workbench, criu: EngineHere, end: str, life: str
) -> None:
    del criu
    names = {"TERM": signal.SIGTERM, "SEGV": signal.SIGSEGV, "KILL": signal.SIGKILL}
    status = int(end[-3:]) if end.startswith("exit") else 128 + names[end.split()[1][1:]]
    event = "finished" if end.startswith("exit") else "signalled"
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release < (6, 15) and end == "exit 143":
        pytest.skip("before Linux 6.15 nothing tells, and it counts as killed: the same line resumes")
    line = ["-i", "0", "sh", "-c", f"touch begun; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; {end}"]
    if life == "second":
        process = bench.start(*line)
        wait_until((bench.folder / "begun").exists)
        process.terminate()
        assert process.wait(LONG_S) == 85
    assert bench.run(*line).returncode == status
    assert bench.events[-1] == event or bench.events[-2:] == [event, "pruned"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_fills_up_in_a_checkpoint_leaves_the_program_running(bench: Workbench, criu: EngineHere) -> None:
    del criu
    small = bench.folder.parent / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=36m", "tmpfs", small], check=True, timeout=20)
    try:
        process = bench.start("--dir", small, "-i", "1", "--stdout", "out.txt", *bench.python("big.py", BIG_LEDGER))
        assert process.wait(LONG_S) == 0
    finally:
        subprocess.run(["umount", small], check=True, timeout=20)
    said = (bench.folder / "stderr.txt").read_text()
    assert "checkpoint failed" in said
    assert "the program continues to run" in said
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step}\n" for step in range(30))


def test_the_environment_of_the_program_is_the_callers(bench: Workbench, criu: EngineHere) -> None:
    del criu
    done = bench.run("-i", "0", "env", "-0")
    mine = set(done.stdout.strip("\0").split("\0"))
    theirs = {f"{name}={value}" for name, value in bench.environ.items()}
    noting = {"LD_PRELOAD", "DMTCP_RUN_UNDO"}
    job = {"DMTCP_RUN_JOB_DIR", "DMTCP_RUN_BATCH_JOB"}
    assert {text.partition("=")[0] for text in mine ^ theirs} <= noting | job


IN_MEMORY = """
import fcntl, mmap, os, sys, time
memory = os.memfd_create("memory", os.MFD_ALLOW_SEALING)
if sys.argv[1] == "executed":
    os.write(memory, open("/bin/sleep", "rb").read())
    os.execve(memory, ["sleep", "60"], os.environ)
os.ftruncate(memory, 4096)
fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
mapped = mmap.mmap(memory, 4096, prot=mmap.PROT_READ)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("executed", "was executed from a file in memory (memfd)"),
        ("sealed", "has mapped a file in memory (memfd) that is sealed against writing"),
    ],
    ids=["executed", "sealed"],
)
def test_files_in_memory_that_criu_would_not_restore_are_refused(
    bench: Workbench, criu: EngineHere, how: str, reason: str
) -> None:
    del criu
    done = bench.run("-i", "0.5", *bench.python("in_memory.py", IN_MEMORY), how)
    assert done.returncode == 125, done.stderr
    assert reason in done.stderr
    assert bench.generations == []


@pytest.mark.parametrize("name", ["/proc/{}/stat", pytest.param("/proc/self/task/{}/stat", marks=NO_LONG_TESTS)])
def test_no_checkpoint_is_taken_while_a_file_about_a_thread_is_open(
    bench: Workbench, criu: EngineHere, name: str
) -> None:
    del criu
    text = f"""
import threading, time
thread = threading.Thread(target=time.sleep, args=(30,), daemon=True)
thread.start()
about = open("{name}".format(thread.native_id))
for step in range(60):
    if step == 20:
        about.close()
    print(step, flush=True)
    time.sleep(0.1)
"""
    bench.assert_survives(bench.python("about.py", text), options=["-i", "0.5"])
    assert "about a thread, which CRIU cannot open again" in bench.said()


@pytest.mark.parametrize("how", ["typed", "printed where nothing can print any more"])
def test_no_checkpoint_is_taken_while_data_wait_in_a_pseudo_terminal(
    bench: Workbench, criu: EngineHere, how: str
) -> None:
    """CRIU types once more what was typed, which is echoed then, and drops what nothing can print again."""
    del criu
    text = f"""
import os, time
master, slave = os.openpty()
if "{how}" == "typed":
    os.write(master, b"typed\\n")
else:
    os.write(slave, b"printed\\n")
    os.close(slave)
for step in range(60):
    if step == 20:
        print(os.read(slave if "{how}" == "typed" else master, 100), flush=True)
    print(step, flush=True)
    time.sleep(0.1)
"""
    bench.assert_survives(bench.python("terminal.py", text), options=["-i", "0.5"])
    assert "that were not read yet, which CRIU would change" in bench.said()


@pytest.mark.parametrize("modes", ["usual", "raw", "two openings", "read in part"])
@pytest.mark.parametrize("action", ["checkpoint", "stop"])
def test_what_was_printed_to_a_pseudo_terminal_waits_there_after_a_resume(
    bench: Workbench, criu: EngineHere, modes: str, action: str
) -> None:
    """CRIU prints it once more, with the end of each line turned into two characters twice."""
    del criu
    text = f"""
import os, time, tty
master, slave = os.openpty()
if "{modes}" == "raw":
    tty.setraw(slave)
if "{modes}" == "two openings":
    second = os.open(os.ttyname(slave), os.O_RDWR | os.O_NONBLOCK)
for number in range(300):
    os.write(slave, b"line %d\\n" % number)
read = os.read(master, 7) if "{modes}" == "read in part" else b""
print("printed", flush=True)
while not os.path.exists("go"):
    time.sleep(0.05)
os.write(slave, b"end\\n")
while b"end" not in read:
    read += os.read(master, 10000)
print(read, flush=True)
"""
    program = bench.python("terminal.py", text)
    line = ["-i", "0", "--job", "prints", "--stdout", "out.txt", *program]
    process = bench.start(*line)
    bench.wait_lines(1, process)
    assert bench.ctl(action, "prints").returncode == 0
    if action == "checkpoint":
        # what runs on finds them as they were, too
        assert bench.ctl("checkpoint", "prints").returncode == 0
        kill_all(process)
    else:
        process.wait(LONG_S)
    plain = bench.start_plain(*program)
    for folder in (bench.folder, bench.plain):
        (folder / "go").touch()
    assert bench.start(*line).wait(LONG_S) == 0, bench.said()
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_a_program_that_prints_to_a_pseudo_terminal_all_the_time_is_checkpointed(
    bench: Workbench, criu: EngineHere
) -> None:
    """As mpirun's processes do. What was printed while criu froze the processes was not seen before the dump."""
    del criu
    text = """
import os, pty, time
child, master = pty.fork()
if child == 0:
    for number in range(200000):
        print("line", number, flush=True)
        if number % 50 == 0:
            time.sleep(0.002)
    os._exit(0)
read = 0
try:
    while data := os.read(master, 1000):
        print(data.decode(), end="", flush=True)
except OSError:
    pass
print(os.waitpid(child, 0)[1])
"""
    bench.assert_survives(bench.python("prints.py", text), options=["-i", "0.3"], times=3)
    assert "checkpoint failed" not in bench.said()


@pytest.mark.skipif(built("environment") is None, reason="there was no compiler at the installation")
@pytest.mark.parametrize("line", ["env -i A=1 env", "unset LD_PRELOAD; env", "LD_PRELOAD= env", "env -i env -i env"])
def test_what_is_executed_with_another_environment_sees_nothing_added_to_it(
    bench: Workbench, criu: EngineHere, line: str
) -> None:
    del criu
    mine, plain = bench.run("-i", "0", "sh", "-c", line), bench.start_plain("sh", "-c", line)
    assert plain.wait(LONG_S) == 0
    of_job = ("DMTCP_RUN_UNDO=", "DMTCP_RUN_JOB_DIR=", "DMTCP_RUN_BATCH_JOB=", "PWD=")
    seen, alone = (
        sorted(word for word in text.splitlines() if not word.startswith(of_job))
        for text in (mine.stdout, (bench.plain / "out.txt").read_text())
    )
    assert mine.returncode == 0, mine.stderr
    assert seen == alone


@pytest.fixture
def without_dmtcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide every DMTCP from a line with ``--engine auto``."""
    folders = os.environ["PATH"].split(os.pathsep)
    kept = [folder for folder in folders if not Path(folder, "dmtcp_launch").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))
    monkeypatch.delenv("DMTCP_PREFIX", raising=False)


@pytest.mark.usefixtures("without_dmtcp")
def test_auto_takes_criu_where_dmtcp_is_not_and_says_why(bench: Workbench, criu: EngineHere) -> None:
    del criu
    done = bench.run("--engine", "auto", "-v", "-i", "0", "true")
    assert done.returncode == 0
    assert "engine criu: dmtcp: there is no dmtcp_launch" in done.stderr
    assert "started with criu" in done.stderr


def test_the_reason_stands_in_the_manifest_and_a_generation_goes_back_to_its_engine(
    bench: Workbench, criu: EngineHere
) -> None:
    del criu
    program = bench.counting(20)
    process = bench.start("-i", "0", "--stdout", "out.txt", *program)
    bench.wait_lines(2, process)
    process.terminate()
    assert process.wait(LONG_S) == 85
    assert (bench.manifest["engine"], bench.manifest["engine_reason"]) == ("criu", "--engine criu")
    done = bench.run("-v", "--engine", "dmtcp", "--stdout", "out.txt", *program)
    assert done.returncode == 0
    assert "engine criu: it made generation 1" in done.stderr


@pytest.mark.usefixtures("without_dmtcp")
def test_where_no_engine_is_one_error_says_what_each_lacks(bench: Workbench, criu: EngineHere) -> None:
    del criu
    environ = {**bench.environ, "DMTCP_RUN_CRIU": str(bench.folder / "none")}
    done = bench.run("--engine", "auto", "true", env=environ)
    assert done.returncode == 125
    assert "dmtcp: " in done.stderr
    assert "criu: " in done.stderr
    assert not bench.jobs.exists()


@pytest.mark.skipif(built("uring") is None, reason="there was no compiler at the installation")
def test_a_program_that_uses_io_uring_where_it_can_gets_none_and_resumes(bench: Workbench, criu: EngineHere) -> None:
    del criu
    if not kernel_gives_rings():
        pytest.skip("the kernel gives nobody a ring")
    line = ["-v", "-i", "1", "--stdout", "out.txt", *bench.program("uring.py")]
    bench.crash(line)
    assert bench.start(*line).wait(LONG_S) == 0
    assert "resumed" in bench.events
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step} False\n" for step in range(40))
    assert "set plugin uring: " in (bench.folder / "stderr.txt").read_text()


def test_a_program_that_gets_a_ring_of_io_uring_all_the_same_is_refused_with_the_reason(
    bench: Workbench, criu: EngineHere
) -> None:
    """Where this one fails, CRIU has learned it: the plugin can go for versions from that one on."""
    del criu
    if not kernel_gives_rings():
        pytest.skip("the kernel gives nobody a ring")
    program = without_environment(*bench.program("uring.py"))
    done = bench.run("-i", "0.3", "--stdout", "out.txt", *program)
    assert done.returncode == 125
    assert ") uses io_uring, which CRIU cannot checkpoint; " in done.stderr
    assert "--allow-unprotected" in done.stderr
    assert bench.generations == []


def test_a_program_that_ends_while_an_image_is_taken_has_ended_and_nothing_has_failed(
    bench: Workbench, criu: EngineHere
) -> None:
    begun = bench.folder / "begun"
    late = bench.folder.parent / "criu"
    late.write_text(CRIU_TOO_LATE.format(begun=begun, criu=criu.environ["DMTCP_RUN_CRIU"]))
    late.chmod(0o755)
    program = ["sh", "-c", f"while [ ! -e {begun} ]; do sleep 0.05; done; exit 7"]
    done = bench.run("-i", "0.5", *program, env={**bench.environ, "DMTCP_RUN_CRIU": str(late)})
    assert done.returncode == 7
    assert begun.exists()
    assert "fail" not in done.stderr
    assert "failed" not in bench.events
