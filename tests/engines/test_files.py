"""Files after a crash: what the program did since its last checkpoint is undone before it is done again, or refused.

Every program here is killed between two checkpoints, with everything that belongs to it, and resumed by the same line.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from dmtcp_py.rollback import held_files
from kit.copies import copy_without_c
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.skipif(built("files") is None, reason="built without a C compiler")

NAMELESS = """
import ctypes, os, sys, tempfile, time
libc = ctypes.CDLL(None)
if sys.argv[1] == "O_TMPFILE":
    file = tempfile.TemporaryFile(dir=".")
    fd = file.fileno()
elif sys.argv[1] == "unlink":
    fd = os.open("nameless", os.O_RDWR | os.O_CREAT)
    os.unlink("nameless")
else:
    libc.tmpfile.restype = ctypes.c_void_p
    libc.fileno.argtypes = [ctypes.c_void_p]
    fd = libc.fileno(libc.tmpfile())
for step in range(80):
    try:
        os.write(fd, b"%d\\n" % step)
        print(os.pread(fd, 1000, 0), os.fstat(fd).st_nlink, flush=True)
    except OSError as error:
        print(error, flush=True)
    time.sleep(0.1)
"""
BY_NAME = """
import dbm.dumb, os, sqlite3, time

def more(name, text):
    with open(name, "a") as file:
        file.write(text)

def count(name, write):
    with open(name) as file:
        number = int(file.read()) + 1
    write(name, str(number))

def rewrite(name, text):
    with open(name, "w") as file:
        file.write(text)

def replace(name, text):
    with open(name + ".new", "w") as file:
        file.write(text)
    os.replace(name + ".new", name)

def insert(name, step):
    with sqlite3.connect(name) as base:
        base.execute("insert into t values (?)", (step,))
    base.close()

os.mkdir("made")
for name in ("rewritten", "replaced"):
    rewrite(name, "0")
for step in range(70):
    rewrite(f"input{step}", str(step))
for name, mode in (("journal.db", "delete"), ("wal.db", "wal")):
    base = sqlite3.connect(name)
    base.execute(f"pragma journal_mode={mode}")
    base.execute("create table t (i integer)")
    base.close()
taken = linked = 0
for step in range(70):
    more("lines", f"{step}\\n")
    count("rewritten", rewrite)
    count("replaced", replace)
    insert("journal.db", step)
    insert("wal.db", step)
    with dbm.dumb.open("dumb") as numbers:
        numbers["n"] = str(int(numbers.get("n", b"0")) + 1)
    os.mkdir(f"made/{step}")
    open(f"made/{step}/new", "x").close()
    if os.path.exists(f"input{step}"):
        with open(f"input{step}") as file:
            taken += int(file.read())
        os.unlink(f"input{step}")
    if step % 4 == 3:
        os.rename("lines", f"lines.{step}")
    if not os.path.lexists("link"):
        os.symlink(f"lines.{step}", "link")
        linked += 1
    elif step % 5 == 4:
        os.unlink("link")
    if step % 10 == 9:
        os.rename(f"made/{step}", f"made/moved{step}")
    time.sleep(0.1)
rows = [sqlite3.connect(name).execute("select count(*), sum(i) from t").fetchone() for name in ("journal.db", "wal.db")]
print(rows, taken, linked, numbers_of := dbm.dumb.open("dumb")["n"])
for name in ("rewritten", "replaced", *sorted(n for n in os.listdir() if n.startswith("lines"))):
    print(name, open(name).read().split())
print(sorted(os.listdir("made")), sorted(n for n in os.listdir() if n.startswith(("input", "link"))))
"""
IN_SHELL = """
echo 0 > number
for step in 1 2 3 4 5 6; do
    echo $step >> lines
    expr $(cat number) + $step > number.new
    mv number.new number
    if [ ! -e seen.$step ]; then touch seen.$step; fi
    sleep 0.9
done
cat lines number
ls
"""
SQLITE = """
import sqlite3, sys, time
base = sqlite3.connect("kept.db", isolation_level=None)
base.execute(f"pragma journal_mode={sys.argv[1]}")
base.execute("create table t (i integer)")
for step in range(60):
    if step % 6 == 0:
        base.execute("begin")
    base.execute("insert into t values (?)", (step,))
    if step % 6 == 4:
        base.execute("commit")
    time.sleep(0.1)
print(base.execute("select count(*), sum(i) from t").fetchone(), base.execute("pragma integrity_check").fetchone())
"""
LARGE = """
import os, time
with open("large", "wb") as file:
    file.truncate(65 << 20)
for step in range(90):
    with open("large", "r+b") as file:
        number = int.from_bytes(file.read(8), "little") + 1
        file.seek(0)
        file.write(number.to_bytes(8, "little"))
    time.sleep(0.1)
print(number)
"""
UPDATES = """
import ctypes, mmap, os, sys, time
size, way = int(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.fputc.argtypes = libc.fflush.argtypes = libc.fileno.argtypes = (ctypes.c_void_p,)
libc.fputc.argtypes = (ctypes.c_int, ctypes.c_void_p)
libc.fseek.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_int)
with open("large", "wb") as file:
    file.truncate(size)
if way == "a stream":
    stream = libc.fopen(b"large", b"r+")
    fd = libc.fileno(stream)
elif way == "memory in append mode":
    fd = os.open("large", os.O_RDWR | os.O_APPEND)
    memory = mmap.mmap(fd, size)
elif way == "syscall()":
    fd = libc.syscall(257, -100, b"large", os.O_WRONLY, 0)
else:
    fd = os.open("large", os.O_RDWR if "and" in way else os.O_WRONLY)

def write(at, number):
    if way == "a stream":
        libc.fseek(stream, at, 0)
        libc.fputc(number, stream)
        libc.fflush(stream)
    elif way == "memory in append mode":
        memory[at] = number
    elif way == "syscall()":
        os.lseek(fd, at, 0)
        libc.syscall(1, fd, bytes([number]), 1)
    else:
        os.pwrite(fd, bytes([number]), at)

for step in range(90):
    with open("large", "rb") as file:
        for at in (0, step % 7 * (size // 8), size - 1):
            file.seek(at)
            write(at, file.read(1)[0] + 1)
    if "memory" not in way:
        os.truncate("large", size + step)
    time.sleep(0.1)
with open("large", "rb") as file:
    print(sum(file.read()), os.path.getsize("large"))
"""
LARGE_SIZE, SMALL_SIZE = str(65 << 20), "100000"
UPDATED = {
    "large, opened each time": (LARGE,),
    "large, for reading and writing": (UPDATES, LARGE_SIZE, "reading and writing"),
    "large, for writing alone": (UPDATES, LARGE_SIZE, "writing"),
    "large, with a stream": (UPDATES, LARGE_SIZE, "a stream"),
    "small, for writing alone": (UPDATES, SMALL_SIZE, "writing"),
    "small, by numbers of system calls": (UPDATES, SMALL_SIZE, "syscall()"),
    "small, as memory": (UPDATES, SMALL_SIZE, "memory in append mode"),
}
MAPPED = """
import mmap, time
with open("large", "w+b") as file:
    file.truncate(65 << 20)
    with mmap.mmap(file.fileno(), 0) as memory:
        for step in range(60):
            memory[0] += 1
            time.sleep(0.1)
        print(memory[0])
"""
LOCKED = """
import fcntl, os, time

def is_locked(name, call):
    child = os.fork()
    if child == 0:
        with open(name, "r+") as other:
            try:
                call(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(1)
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

with open("whole", "w") as whole, open("part", "w") as part:
    fcntl.flock(whole, fcntl.LOCK_EX)
    fcntl.lockf(part, fcntl.LOCK_EX, 10, 5)
    for step in range(80):
        print(step, flush=True)
        time.sleep(0.1)
    print(is_locked("whole", fcntl.flock), is_locked("part", fcntl.lockf))
"""
OF_PROC = """
import os, time
status = os.open("/proc/self/status", os.O_RDONLY)
logs = [open(f"log{number}", "a+") for number in range(6)]
me = next((number for number in range(1, 6) if os.fork() == 0), 0)
for step in range(250):
    print(step, [os.fstat(log.fileno()).st_size >= 0 for log in logs], file=logs[me], flush=True)
    if me == 0:
        print(step, f"Pid:\\t{os.getpid()}\\n" in os.pread(status, 4000, 0).decode(), flush=True)
    time.sleep(0.05)
if me == 0:
    for _ in range(5):
        os.wait()
    for log in logs:
        log.seek(0)
        print(log.read())
"""


def test_what_a_program_did_by_name_since_its_checkpoint_is_undone_before_it_is_done_again(
    bench: Workbench, engine: EngineHere
) -> None:
    """Files opened for each write, replaced, made, taken away, moved; folders, links, databases."""
    del engine
    bench.assert_survives(bench.python("by_name.py", BY_NAME), times=2, progress=None)
    said = (bench.folder / "stderr.txt").read_text()
    assert "changed since the checkpoint; the changed content is in" in said


@pytest.mark.parametrize("way", ["O_TMPFILE", "tmpfile()", "unlink"])
def test_a_temporary_file_without_a_name_keeps_what_is_in_it(bench: Workbench, engine: EngineHere, way: str) -> None:
    """Of the C library's, the first write after a resume went nowhere and the program ended with 0."""
    del engine
    bench.assert_survives([*bench.python("nameless.py", NAMELESS), way], times=2)


def test_what_a_killed_restart_left_of_a_file_without_a_name_is_removed(
    bench: Workbench, one_dmtcp: EngineHere
) -> None:
    del one_dmtcp
    program = [*bench.python("nameless.py", NAMELESS), "unlink"]
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    bench.crash(line)
    held = held_files.read(bench.job / "generations" / f"{bench.newest:06}")
    for left in map(Path, held.temporary):
        left.write_text("left by a restart that was killed")
    assert bench.start(*line).wait(LONG_S) == plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")
    assert held.temporary
    assert not any(map(os.path.exists, held.temporary))


def test_a_shell_script_appends_moves_and_touches_once(bench: Workbench, engine: EngineHere) -> None:
    """Each by a program of its own, that has ended when the checkpoint is taken."""
    if engine.name == "dmtcp":
        pytest.skip("DMTCP dies or hangs now and then of a fork in a checkpoint")
    for folder in (bench.folder, bench.plain):
        (folder / "script.sh").write_text(IN_SHELL)
    line = ["-i", "1", "--stdout", "out.txt", "--stderr", "stderr.txt", "bash", "script.sh"]
    plain = bench.start_plain("bash", "script.sh")
    (bench.plain / "stderr.txt").touch()
    (bench.plain / "err.txt").unlink()
    bench.crash(line, progress=None)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


@pytest.mark.parametrize("mode", ["delete", "truncate", "wal"])
def test_a_database_that_is_kept_open_has_each_row_once(bench: Workbench, engine: EngineHere, mode: str) -> None:
    """With transactions open at the checkpoint and at the end."""
    del engine
    bench.assert_survives([*bench.python("kept.py", SQLITE), mode], progress=None)


@pytest.mark.parametrize("program", UPDATED.values(), ids=UPDATED)
def test_what_a_program_overwrites_in_a_file_is_restored_whatever_its_size_and_however_it_was_opened(
    bench: Workbench, engine: EngineHere, program: tuple[str, ...]
) -> None:
    del engine
    text, *words = program
    line = [*bench.python("updates.py", text), *words]
    bench.assert_survives(line, "large", times=2, progress=lambda: _first_bytes(bench.folder / "large"))


def test_a_large_file_that_is_written_as_memory_is_named_at_the_first_generation_and_not_resumed(
    bench: Workbench, engine: EngineHere
) -> None:
    """But by DMTCP, which maps such files once more after each checkpoint, and so has them recorded."""
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("large.py", MAPPED)]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    if engine.name != "dmtcp":
        wait_until(lambda: f"{bench.folder / 'large'}, which the program writes as memory" in bench.said())
    bench.wait_beyond_checkpoint(process, lambda: _first_bytes(bench.folder / "large"))
    kill_all(process)
    refused = bench.run(*line)
    if engine.name == "dmtcp":
        assert refused.returncode == 0
        assert (bench.folder / "out.txt").read_text() == "60\n"
        return
    assert f"{bench.folder / 'large'}, which the program writes as memory, is too large to copy" in bench.said()
    assert refused.returncode == 125
    assert str(bench.folder / "large") in refused.stderr
    assert "too large to copy" in refused.stderr
    assert "--accept-changed-files resumes all the same" in refused.stderr
    assert (bench.folder / "out.txt").read_text() == ""
    accepted = bench.run("--accept-changed-files", *line)
    assert accepted.returncode == 0
    assert (bench.folder / "out.txt").read_text() != "60\n", "it was changed, and the user accepted that"


WITHOUT_ROOM = """
import os, resource, time
NONE = resource.RLIM_INFINITY
for name in ("one", "two"):
    with open(name, "w") as file:
        file.write("0" * 90_000)
descriptors = [os.open(name, os.O_WRONLY) for name in ("one", "two")]
for step in range(200):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, NONE))
    for fd in descriptors:
        os.pwrite(fd, b"%d" % step, 0)
        os.pwrite(fd, b"%d" % step, 80_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (NONE, NONE))
    time.sleep(0.1)
"""


def test_what_cannot_be_kept_is_named_at_the_next_generation_and_not_resumed(
    bench: Workbench, criu: EngineHere
) -> None:
    """Here the program's own limit leaves room for the old content of one file; DMTCP writes no image within it."""
    del criu
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("limited.py", WITHOUT_ROOM)]
    process = bench.start(*line)
    bench.wait_said("what it held before could not be kept", process)
    bench.wait_generations(1, process)
    bench.wait_beyond_checkpoint(process, lambda: _first_bytes(bench.folder / "two"))
    kill_all(process)
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert str(bench.folder / "two") in refused.stderr


def test_after_a_checkpoint_and_stop_nothing_is_undone_and_nothing_refused(
    bench: Workbench, engine: EngineHere
) -> None:
    """Nothing ran after the image, so what is there is what it was, whatever its size."""
    del engine
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("large.py", LARGE)]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    done = bench.run(*line)
    assert done.returncode == 0
    assert (bench.folder / "out.txt").read_text() == "90\n"
    assert "changed since then" not in done.stderr


STOPPED = """
import time
with open("held", "w+") as held:
    held.write("000")
    for step in range(60):
        number = int(open("named").read()) if step else 0
        with open("named", "w") as file:
            file.write(str(number + 1))
        held.seek(0)
        other = int(held.read(3)) + 1
        held.seek(0)
        held.write(f"{other:03}")
        held.flush()
        time.sleep(0.1)
print(number + 1, other)
"""


def test_a_life_after_a_checkpoint_and_stop_that_is_cut_short_is_undone(bench: Workbench, engine: EngineHere) -> None:
    """It went on from an image after which nothing ran, and left no other."""
    del engine
    line = ["-i", "0", "--stdout", "out.txt", *bench.python("stopped.py", STOPPED)]
    process = bench.start(*line)
    wait_until(lambda: _number(bench.folder / "named") > 5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    process = bench.start(*line)
    bench.wait_said("resumed generation 1", process)
    reached = _number(bench.folder / "named")
    wait_until(lambda: _number(bench.folder / "named") > reached + 5)
    kill_all(process)
    assert bench.run(*line).returncode == 0
    assert (bench.folder / "out.txt").read_text() == "60 60\n"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _number(path: Path) -> int:
    text = path.read_text() if path.exists() else ""
    return int(text) if text else 0


def test_what_is_taken_away_is_kept_and_what_others_wrote_stays(bench: Workbench, engine: EngineHere) -> None:
    del engine
    text = """
import os, time
with open("first", "w") as file:
    file.write("old")
while not os.path.exists("go"):
    time.sleep(0.05)
for step in range(50):
    with open("first", "a") as file:
        file.write(f" {step}")
    with open("second", "a") as file:
        file.write(f" {step}")
    time.sleep(0.1)
"""
    line = ["-i", "0", "--stdout", "out.txt", *bench.python("two.py", text)]
    process = bench.start(*line)
    wait_until(lambda: bench.said("first") == "old")
    assert bench.ctl("checkpoint", bench.job.name).returncode == 0
    (bench.folder / "go").touch()
    wait_until(lambda: len(bench.said("second").split()) > 3)
    kill_all(process)
    others = bench.folder / "others"
    others.write_text("not the program's")
    held = {name: bench.said(name) for name in ("first", "second")}
    assert bench.run(*line).returncode == 0
    steps = "".join(f" {step}" for step in range(50))
    assert (bench.folder / "first").read_text() == "old" + steps
    assert (bench.folder / "second").read_text() == steps
    assert others.read_text() == "not the program's"
    aside = {path.name.partition("-")[2]: path.read_text() for path in (bench.job / "set-aside").iterdir()}
    for name, content in held.items():
        assert content.endswith(aside[name]), f"{name} lost what it held"


def test_a_start_once_more_without_a_generation_finds_the_files_as_the_first_start_did(
    bench: Workbench, engine: EngineHere
) -> None:
    """As where it was killed before its first checkpoint, twice."""
    del engine
    text = """
import os, sys, time
with open("runs", "a") as file:
    file.write("begun\\n")
os.mkdir("made")
with open("input") as file:
    number = int(file.read())
with open("input", "w") as file:
    file.write(str(number + 1))
print(number, flush=True)
time.sleep(60 if os.path.exists("stays") else 0)
"""
    (bench.folder / "input").write_text("41")
    (bench.folder / "stays").touch()
    line = ["-i", "0", "--stdout", "out.txt", *bench.python("runs.py", text)]
    for _ in range(2):
        process = bench.start(*line)
        bench.wait_lines(1, process)
        kill_all(process)
        (bench.folder / "out.txt").unlink()
    (bench.folder / "stays").unlink()
    done = bench.run(*line)
    assert done.returncode == 0, done.stderr
    assert "changed since the program's start; the changed content" in done.stderr
    assert (bench.folder / "out.txt").read_text() == "41\n"
    assert (bench.folder / "runs").read_text() == "begun\n"
    assert (bench.folder / "input").read_text() == "42"
    assert bench.run(*line).returncode == 1, "it has finished: what it did then counts, and its directory is there"


@pytest.mark.usefixtures("engine")
def test_files_of_proc_that_processes_share_cost_none_of_them_another_file(bench: Workbench) -> None:
    bench.assert_survives(bench.python("own.py", OF_PROC), times=3)
    assert "cannot be used" not in bench.said()


def test_locks_on_files_are_held_again(bench: Workbench, engine: EngineHere) -> None:
    """Of both kinds: on a whole file, and on a range of one."""
    del engine
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("locked.py", LOCKED)]
    bench.crash(line)
    assert bench.run(*line).returncode == 0
    assert bench.said("out.txt").splitlines()[-1] == "1 1"


def test_without_the_part_in_c_a_resume_says_what_it_cannot_undo(
    bench: Workbench, engine: EngineHere, tmp_path: Path
) -> None:
    """As where no compiler was there at the installation: the package is copied without it."""
    del engine
    bare = copy_without_c(tmp_path / "bare")
    environ = {**bench.environ, "PYTHONPATH": str(bare)}
    line = ["-i", "1", "--stdout", "out.txt", *bench.counting(60, ledger="lines")]
    bench.crash(line, env=environ)
    done = bench.run(*line, env=environ)
    assert done.returncode == 0
    assert "will be repeated: it was not recorded" in done.stderr


IN_MEMORY = """
import os, shutil, sys, time
place = sys.argv[1]
os.makedirs(f"{place}/below")
for name in ("updated", "appended", "removed", "below/moved"):
    with open(f"{place}/{name}", "w") as file:
        file.write("0" * 100)
for step in range(120):
    with open(f"{place}/updated", "r+") as file:
        number = int(file.read(10)) + 1
        file.seek(0)
        file.write(f"{number:010}")
    with open(f"{place}/appended", "a") as file:
        file.write(f"{step}\\n")
    with open(f"{place}/made{step % 7}", "x") as file:
        file.write(str(step))
    os.unlink(f"{place}/made{step % 7}")
    os.rename(f"{place}/below/moved", f"{place}/moved")
    with open(f"{place}/moved", "w") as file:
        file.write(str(step))
    os.rename(f"{place}/moved", f"{place}/below/moved")
    if step == 100:
        os.unlink(f"{place}/removed")
    print(step, number, flush=True)
    time.sleep(0.1)
for name in ("updated", "appended", "below/moved"):
    print(open(f"{place}/{name}").read())
print(sorted(os.listdir(place)), os.listdir(f"{place}/below"))
shutil.rmtree(place)
"""


@pytest.mark.parametrize("is_gone", [False, True], ids=["still there", "gone"])
def test_files_in_memory_are_what_they_were(bench: Workbench, engine: EngineHere, *, is_gone: bool) -> None:
    """Also where all in /dev/shm is gone, as after a reboot or on another machine."""
    del engine
    place = Path("/dev/shm") / f"{bench.folder.parent.name[-20:]}-{os.getpid()}"
    program = [*bench.python("in_memory.py", IN_MEMORY), str(place)]
    try:
        assert bench.start_plain(*program).wait(LONG_S) == 0
        for _ in range(2):
            line = ["-i", "1", "--stdout", "out.txt", *program]
            bench.crash(line)
            if is_gone:
                shutil.rmtree(place, ignore_errors=True)
                boot = bench.job / "undo" / "boot"
                boot.write_text(boot.read_text().replace("\n", "\nnot "))
        done = bench.run(*line)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    bench.assert_same("out.txt")


def test_a_file_that_has_become_shorter_than_at_the_checkpoint_is_refused_by_name(
    bench: Workbench, one_of_each: EngineHere
) -> None:
    """As after a loss of power, or because somebody emptied it; the program, which only appends, would not notice."""
    assert one_of_each
    line = ["-i", "1", "--stdout", "out.txt", *bench.counting(40, append="log.txt")]
    bench.crash(line)
    (bench.folder / "log.txt").write_bytes(b"")
    done = bench.run(*line)
    assert done.returncode == 125
    assert re.search(r"log\.txt, which the program had open, had \d+ bytes and now has 0", done.stderr)
