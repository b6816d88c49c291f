"""What a program does to files by their names is noted and undone: no engine, the part in C loaded by LD_PRELOAD."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dmtcp_py.engine.executable import is_go
from dmtcp_py.errors import RestartFailedError
from dmtcp_py.native import built
from dmtcp_py.rollback import joining, parts, recording, undo
from dmtcp_py.store.verify import hash_file
from dmtcp_py.system.files import size_below
from kit.waits import LONG_S

WATCHER = built("files")
pytestmark = pytest.mark.skipif(WATCHER is None, reason="built without a C compiler")


class RecordedFolder:
    """A folder of files, and the record of what programs without an engine do to it."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "work"
        self.job = path / "job"
        self.notes = self.job / "undo"
        self.warned: list[str] = []
        for folder in (self.folder, self.job):
            folder.mkdir()
        recording.begin(self.notes)

    def run(self, text: str, *words: str) -> None:
        """Run a program in Python with this TEXT, and all that it starts."""
        environ = {**os.environ, "LD_PRELOAD": str(WATCHER), recording.VARIABLE: str(self.notes)}
        argv = [sys.executable, "-c", "import os, socket, sys\n" + text, *words]
        subprocess.run(argv, cwd=self.folder, env=environ, check=True, timeout=LONG_S)

    def checkpoint(self) -> str:
        """Begin a new part as a checkpoint does."""
        part = recording.make_ready(self.notes)
        parts.begin_next(self.notes)
        return part

    def undo(self, since: str, *, accept: bool = False) -> None:
        """Go back to the checkpoint that the part SINCE began with, and begin a new life."""
        undo.undo(self.notes, since, accept=accept, warn=self.warned.append)
        recording.begin(self.notes)

    def tree(self) -> dict[str, object]:
        """Return all that is in the folder, by name."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob("*")):
            mode = path.lstat().st_mode
            what: object = stat.S_IFMT(mode)
            if stat.S_ISREG(mode):
                what = path.read_bytes()
            elif stat.S_ISLNK(mode):
                what = os.readlink(path)
            found[str(path.relative_to(self.folder))] = what
        return found


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedFolder:
    return RecordedFolder(tmp_path)


PREPARED = """
for name in ("one", "two", "three"):
    open(name, "w").write(name)
open("empty", "w").close()
os.makedirs("a/below"); os.makedirs("b"); os.makedirs("bare")
for name in ("a/file", "a/below/file", "b/file"):
    open(name, "w").write(name)
os.symlink("one", "link"); os.symlink("a", "current"); os.symlink("nowhere", "dangling")
os.link("two", "second"); os.mkfifo("pipe")
"""
CHANGES = {
    "an empty file is written to and moved": """
open("empty", "w").write("x")
os.rename("empty", "full")
""",
    "a link is written through and replaced": """
open("link", "w").write("changed")
os.unlink("link")
os.symlink("two", "link")
open("link", "w").write("changed too")
""",
    "the same path leads to another folder": """
open("current/file", "w").write("x")
os.unlink("current")
os.symlink("b", "current")
open("current/file", "w").write("y")
""",
    "a link that leads nowhere": 'open("dangling", "w").write("x")',
    "folders take each other's names": """
open("a/file", "a").write("x")
os.rename("a", "old")
os.rename("b", "a")
open("a/file", "w").write("y")
os.mkdir("b")
open("b/file", "x").write("z")
open("old/below/file", "w").write("w")
""",
    "a move that failed": """
open("b/new", "x").close()
try: os.rename("a", "b")
except OSError: pass
""",
    "a folder whose place is taken, moved once more": """
os.rename("a", "new")
os.rename("new", "old")
open("new", "w").write("x")
os.rename("bare", "second-bare")
os.rename("second-bare", "third-bare")
os.makedirs("second-bare/in/it")
""",
    "a folder that is moved away and removed": """
import shutil
os.rename("a", "old")
os.makedirs("a/below")
open("a/below/file", "w").write("x")
shutil.rmtree("old")
os.rename("bare", "old")
os.rmdir("old")
""",
    "a file is changed by a name that it gets and loses": """
os.link("one", "new")
open("new", "w").write("changed")
os.unlink("new")
os.rename("two", "b/moved")
os.unlink("second")
open("b/moved", "a").write("changed")
open("b/moved", "w").write("changed once more")
os.unlink("b/moved")
os.link("three", "b/three")
open("b/three", "w").write("changed")
os.unlink("b/three")
os.rename("three", "b/four")
""",
    "a folder becomes a file, and a file a folder": """
os.rmdir("bare")
open("bare", "w").write("x")
os.unlink("one")
os.makedirs("one/in/it")
""",
    "a file with two names": """
open("second", "w").write("changed")
os.unlink("second")
""",
    "by names from a folder's descriptor": """
fd = os.open("a", os.O_RDONLY)
os.rename("below/file", "moved", src_dir_fd=os.open("a", 0), dst_dir_fd=fd)
os.unlink("file", dir_fd=fd)
os.mkdir("made", dir_fd=fd)
""",
    "names that are hard to write": """
for name in (b"a\\nb", b"a\\tb", b"\\xff\\xfe", b"-", b" ", b"a\\nb/..x"[:3] + b"n" * 250):
    open(name, "w").write("x")
os.rename("a", b"new\\nline\\ttab")
os.rename(b"new\\nline\\ttab", "b\\nc")
""",
    "a path almost as long as paths can be": """
for _ in range(18):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
open("short", "w").close()
""",
    "pipes and sockets": """
os.unlink("pipe")
os.mkfifo("other")
socket.socket(socket.AF_UNIX).bind("sock")
""",
    "sizes": """
os.truncate("one", 1)
fd = os.open("two", os.O_WRONLY | os.O_APPEND)
os.write(fd, b"more")
os.ftruncate(fd, 1)
""",
    "as children, forked and spawned": """
import subprocess
if os.fork() == 0:
    open("one", "a").write("child")
    os._exit(0)
os.wait()
subprocess.run("echo x >> two; mv three four; rm -r a; cp four five", shell=True, check=True)
to_one = (os.POSIX_SPAWN_OPEN, 1, "one", os.O_WRONLY | os.O_APPEND, 0)
pid = os.posix_spawn("/bin/echo", ["echo", "x"], {}, file_actions=[to_one])
os.waitpid(pid, 0)
""",
    "written again within a tick of the clock": """
for i in range(300):
    open("one", "w").write("%03d" % i)
""",
    "temporary files": """
import ctypes
libc = ctypes.CDLL(None)
for name in (b"./fXXXXXX", b"./dXXXXXX"):
    (libc.mkstemp if b"f" in name else libc.mkdtemp)(ctypes.create_string_buffer(name))
""",
}


@pytest.mark.parametrize("text", CHANGES.values(), ids=CHANGES)
def test_all_that_a_program_did_is_undone(recorded: RecordedFolder, text: str) -> None:
    recorded.run(PREPARED)
    before = recorded.tree()
    since = recorded.checkpoint()
    recorded.run(text)
    assert recorded.tree() != before
    recorded.undo(since)
    assert recorded.tree() == before
    recorded.undo(since)
    assert recorded.tree() == before


def test_a_name_in_several_parts_goes_back_to_the_one_of_the_generation(recorded: RecordedFolder) -> None:
    trees, parts = [], []
    for step in range(4):
        recorded.run('open("grows", "a").write("x"); open("changes", "w").write(sys.argv[1])', str(step))
        recorded.run(
            'os.rename("changes", "other"); open("changes", "w").write("new"); os.makedirs(sys.argv[1])', f"d{step}"
        )
        trees.append(recorded.tree())
        parts.append(recorded.checkpoint())
    recorded.run('os.rename("d1", "d9"); open("grows", "w").write("y")')
    recorded.undo(parts[3])
    assert recorded.tree() == trees[3]
    recorded.undo(parts[1])
    assert recorded.tree() == trees[1]


def test_after_going_back_further_a_newer_generation_is_refused(recorded: RecordedFolder) -> None:
    """Its files cannot be had again: what was undone is not done."""
    recorded.run('open("one", "w").write("0")')
    older = recorded.checkpoint()
    recorded.run('open("one", "w").write("1")')
    newer = recorded.checkpoint()
    recorded.run('open("one", "w").write("2")')
    recorded.undo(older)
    recorded.run('open("one", "w").write("3")')
    with pytest.raises(RestartFailedError, match="went back to an earlier generation"):
        recorded.undo(newer)
    assert (recorded.folder / "one").read_text() == "3"
    recorded.undo(older)
    assert (recorded.folder / "one").read_text() == "0"


KILLED = """
import os, sys
from pathlib import Path
from dmtcp_py.rollback import recording, undo
left = int(sys.argv[2])
def counted(call):
    def counts(*words, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return call(*words, **named)
    return counts
for name in ("rename", "rmdir", "truncate", "utime", "unlink", "mkdir", "link", "symlink", "mkfifo", "fsync"):
    setattr(os, name, counted(getattr(os, name)))
undo.undo(Path(sys.argv[1]), "000002", accept=False, warn=print)
recording.begin(Path(sys.argv[1]))
print("done")
"""


def test_a_rollback_that_is_killed_at_any_step_is_taken_up_again(recorded: RecordedFolder) -> None:
    """And what it had taken away before is still there afterwards."""
    recorded.run(PREPARED)
    before = recorded.tree()
    since = recorded.checkpoint()
    for name in list(CHANGES)[:5]:
        recorded.run(
            CHANGES[name] if name != "the same path leads to another folder" else 'open("b/file", "w").write("u")'
        )
    recorded.run('open("precious", "w").write("nowhere else")')
    recorded.checkpoint()
    recorded.run('os.rename("old", "older"); open("three", "a").write("x")')
    changed = recorded.tree()
    assert since == "000002"
    backup = recorded.folder.with_name("backup")
    shutil.copytree(recorded.folder.parent, backup, symlinks=True, ignore=lambda *_: ["pipe"])
    status, step = -signal.SIGKILL, 0
    while status == -signal.SIGKILL:
        argv = [sys.executable, "-c", KILLED, str(recorded.notes), str(step)]
        done = subprocess.run(argv, check=False, timeout=LONG_S, capture_output=True, text=True)
        status = done.returncode
        step += 1
        assert step < 200
    assert status == 0, done.stderr
    assert step > 5
    assert changed != before
    assert recorded.tree() == before
    kept = [path.read_text() for path in (recorded.job / "set-aside").iterdir() if path.name.endswith("precious")]
    assert kept == ["nowhere else"]


def test_a_change_is_refused_that_could_not_be_recorded_for_want_of_a_descriptor(recorded: RecordedFolder) -> None:
    recorded.run(PREPARED)
    since = recorded.checkpoint()
    text = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    os.unlink("one")
"""
    recorded.run(text)
    with pytest.raises(RestartFailedError, match="could not be kept"):
        recorded.undo(since)


def test_what_cannot_be_noted_is_refused_by_name(recorded: RecordedFolder) -> None:
    """As where the disk is full: nothing can be added to the list, but the room for one name is there already."""
    recorded.run(PREPARED)
    since = recorded.checkpoint()
    (recorded.notes / since / "list").mkdir()
    recorded.run('open("one", "w").write("goes on")')
    assert (recorded.folder / "one").read_text() == "goes on"
    (recorded.notes / since / "list").rmdir()
    with pytest.raises(RestartFailedError, match="work/one, which the program changed since then, and what"):
        recorded.undo(since)
    recorded.undo(since, accept=True)
    assert "left as it is" in recorded.warned[0]
    recorded.undo(since)


def test_a_limit_of_the_programs_on_its_files_does_not_end_it(recorded: RecordedFolder) -> None:
    recorded.run(PREPARED + 'open("large", "w").write("x" * 100_000)')
    since = recorded.checkpoint()
    # Python itself ignores the signal
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))"
    recorded.run(f"""
{limited}
open("large", "r+").write("y")
for i in range(100): os.close(os.open(f"made{{i}}", os.O_CREAT | os.O_WRONLY))
""")
    with pytest.raises(RestartFailedError, match="could not be"):
        recorded.undo(since)


def test_where_not_even_a_name_can_be_written_nothing_goes_back(recorded: RecordedFolder) -> None:
    recorded.run(PREPARED)
    since = recorded.checkpoint()
    (recorded.notes / since / "list").mkdir()
    (recorded.notes / since / "lost").unlink()
    (recorded.notes / since / "lost").symlink_to("/nowhere/at/all")
    recorded.run('open("one", "w").write("goes on")')
    (recorded.notes / since / "list").rmdir()
    with pytest.raises(RestartFailedError, match="could not be kept"):
        recorded.undo(since)


def test_a_line_that_was_not_written_whole_moves_nothing(recorded: RecordedFolder) -> None:
    """It would name a folder above the file that it is of."""
    recorded.run(PREPARED)
    since = recorded.checkpoint()
    recorded.run('open("a/new", "w").close()')
    path = recorded.notes / since / "list"
    whole = path.read_bytes()
    path.write_bytes(whole[: -len("/new\0")])
    recorded.run('open("other", "w").close()')
    recorded.undo(since)
    assert (recorded.folder / "a" / "file").is_file()
    assert not (recorded.folder / "other").exists()


def test_many_files_are_noted_and_few_of_their_names_twice(recorded: RecordedFolder) -> None:
    """More than fit into what a process remembers."""
    since = recorded.checkpoint()
    recorded.run('for i in range(25_000): os.close(os.open(f"f{i}", os.O_CREAT | os.O_WRONLY))')
    recorded.run('for i in range(100): open(f"f{i}", "a").close(); os.unlink(f"f{i}")')
    assert (recorded.notes / since / "list").read_bytes().count(b"\tC\t") == 25_000
    recorded.undo(since)
    assert recorded.tree() == {}


def test_a_folder_with_our_name_in_it_is_the_users(recorded: RecordedFolder) -> None:
    recorded.run('os.mkdir("dmtcp-run-examples"); open("dmtcp-run-examples/f", "w").write("0")')
    since = recorded.checkpoint()
    recorded.run('open("dmtcp-run-examples/f", "w").write("1")')
    recorded.undo(since)
    assert (recorded.folder / "dmtcp-run-examples" / "f").read_text() == "0"


def test_after_the_machine_went_down_a_warning_says_what_may_be_missing(recorded: RecordedFolder) -> None:
    assert not recording.has_gone_down(recorded.notes)
    host = (recorded.notes / parts.BOOT).read_text().split("\n")[0]
    (recorded.notes / parts.BOOT).write_text(f"{host}\nanother")
    assert recording.has_gone_down(recorded.notes)


SIGNALS = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
static sigjmp_buf back;
static volatile int jumps;
static void on_alarm(int signum)
{
    close(open("handled", O_WRONLY | O_CREAT | O_APPEND, 0600));
    if (jumps)
        siglongjmp(back, signum);
}
static void *opens(void *name)
{
    for (;;) {
        close(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600));
        unlink(name);
    }
    return NULL;
}
int main(void)
{
    struct itimerval each = { { 0, 1000 }, { 0, 1000 } };
    pthread_t threads[3];
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    signal(SIGALRM, on_alarm);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, opens, (char *[]){ "x", "y", "z" }[i]);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    setitimer(ITIMER_REAL, &each, NULL);
    for (int i = 0; i < 150; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        pid_t child = i % 2 ? fork() : vfork();
        if (child == 0) {
            int fd = open(name, O_WRONLY | O_CREAT, 0600);
            _exit(fd < 0);
        }
        while (waitpid(child, NULL, 0) < 0)
            ;
        jumps = 1;
        sigsetjmp(back, 1);
        close(open(name, O_WRONLY | O_APPEND));
        jumps = 0;
    }
    for (int i = 0; i < 3; i++) {
        pthread_cancel(threads[i]);
        pthread_join(threads[i], NULL);
    }
    return 0;
}
"""


def test_signals_forks_and_cancelled_threads_leave_nobody_waiting(recorded: RecordedFolder, tmp_path: Path) -> None:
    """Handlers that open files, and some that never return; children of both kinds while other threads open files."""
    (tmp_path / "signals.c").write_text(SIGNALS)
    program = tmp_path / "signals"
    subprocess.run(["cc", "-O1", "-pthread", "-o", program, tmp_path / "signals.c"], check=True, timeout=LONG_S)
    since = recorded.checkpoint()
    recorded.run("os.execv(sys.argv[1], sys.argv[1:])", str(program))
    with recording.closed_gate(recorded.notes, for_last=False):
        pass
    recorded.undo(since)
    assert recorded.tree() == {}


def test_the_gate_closes_while_threads_open_files_all_the_time(recorded: RecordedFolder) -> None:
    """And nobody is in it then: nothing is noted, nothing is done."""
    text = """
import threading
def opens(name):
    while not os.path.exists("stop"):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)); os.unlink(name)
for name in "wxyz":
    threading.Thread(target=opens, args=(name,)).start()
"""
    environ = {**os.environ, "LD_PRELOAD": str(WATCHER), recording.VARIABLE: str(recorded.notes)}
    program = subprocess.Popen([sys.executable, "-c", "import os\n" + text], cwd=recorded.folder, env=environ)
    try:
        for _ in range(20):
            with recording.closed_gate(recorded.notes, for_last=False):
                pass
    finally:
        (recorded.folder / "stop").touch()
        assert program.wait(LONG_S) == 0


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go here")
def test_programs_that_pass_by_the_c_library_are_known() -> None:
    assert is_go(Path(shutil.which("go") or ""))
    assert not is_go(Path(sys.executable))
    assert not is_go(Path(__file__))


OTHERS = 'open("results", "a").write(sys.argv[1] + "\\n")'


class Neighbours:
    """Two jobs of one directory, whose programs append to the same file."""

    def __init__(self, path: Path) -> None:
        for name in ("mine", "other"):
            (path / name).mkdir()
        self.mine, self.other = RecordedFolder(path / "mine"), RecordedFolder(path / "other")
        jobs = path / "jobs"
        jobs.mkdir()
        for recorded, name in ((self.mine, "mine-1"), (self.other, "other-1")):
            recorded.job.rename(jobs / name)
            recorded.job, recorded.folder = jobs / name, self.mine.folder
            recorded.notes = recorded.job / "undo"
            for record in ("job.json", "lock"):
                (recorded.job / record).touch()


@pytest.fixture
def neighbours(tmp_path: Path) -> Neighbours:
    return Neighbours(tmp_path)


@pytest.mark.parametrize("is_forgotten", [False, True], ids=["noted", "noted in a part that is gone"])
def test_a_file_that_another_job_appends_to_as_well_is_not_cut_but_refused(
    neighbours: Neighbours, *, is_forgotten: bool
) -> None:
    mine, other = neighbours.mine, neighbours.other
    results = mine.folder / "results"
    results.write_text("before\n")
    part = mine.checkpoint()
    other.run(OTHERS, "other")
    if is_forgotten:
        recording.forget_unneeded(other.notes, [other.checkpoint()])
    mine.run(OTHERS, "mine")
    with pytest.raises(RestartFailedError, match=f"{results}.*is changed by job other-1 too"):
        mine.undo(part)
    assert results.read_text() == "before\nother\nmine\n"
    mine.undo(part, accept=True)
    assert results.read_text() == "before\nother\nmine\n"
    assert len(mine.warned) == 1


def test_a_job_that_was_over_before_the_checkpoint_is_in_nobodys_way(neighbours: Neighbours) -> None:
    mine, other = neighbours.mine, neighbours.other
    other.run(OTHERS, "other")
    long_ago = 1_000_000_000
    os.utime(other.job / "lock", (long_ago, long_ago))
    part = mine.checkpoint()
    mine.run(OTHERS, "mine")
    mine.undo(part)
    assert (mine.folder / "results").read_text() == "other\n"


def test_a_neighbour_is_found_where_the_part_lost_when_it_began(neighbours: Neighbours) -> None:
    """Who can write nothing at all removes what tells it, and that is refused by name too, not met by an error."""
    mine, other = neighbours.mine, neighbours.other
    part = mine.checkpoint()
    other.run(OTHERS, "other")
    mine.run(OTHERS, "mine")
    (mine.notes / part / "lost").unlink()
    with pytest.raises(RestartFailedError, match="could not be kept"):
        mine.undo(part)
    mine.undo(part, accept=True)
    assert (mine.folder / "results").read_text() == "other\nmine\n"


def test_a_folder_that_others_put_files_into_stays(recorded: RecordedFolder) -> None:
    part = recorded.checkpoint()
    recorded.run('os.makedirs("made/below"); open("made/mine", "w").close()')
    (recorded.folder / "made" / "theirs").write_text("theirs")
    recorded.undo(part)
    made = recorded.folder / "made"
    assert [path.name for path in made.iterdir()] == ["theirs"]
    assert any(f"{made}, which the program made since the checkpoint, stays" in text for text in recorded.warned)


ALL_CHANGES = list(CHANGES.values())
LARGE = """
with open("large", "r+b") as file:
    for place in map(int, sys.argv[1:]):
        file.seek(place)
        file.write(os.urandom(100_000))
"""
"""Overwrites ranges of a file that is too large to be copied."""
RANDOM = """
import random
chosen = random.Random(int(sys.argv[1]))
def any_of(want):
    found = [os.path.join(folder, name) for folder, below, names in os.walk(".") for name in (*below, *names)]
    found = [path for path in sorted(found) if want(path) and not os.path.islink(path)]
    return chosen.choice(found) if found else None
def new():
    return os.path.join(any_of(os.path.isdir) or ".", chosen.choice("abcdefgh"))
def step():
    what = chosen.choice(list(map(int, sys.argv[3])))
    path = any_of(os.path.isdir if what in (6, 7) else os.path.isfile)
    if what == 0: open(new(), "w").write(str(chosen.random()))
    elif what == 1: open(path, "a").write("+")
    elif what == 2: open(path, "r+").write("changed")
    elif what == 3: open(path, "w").write(str(chosen.random()))
    elif what == 4: os.unlink(path)
    elif what == 5: os.rename(path, new())
    elif what == 6: os.rename(path, new())
    elif what == 7: os.mkdir(new())
    elif what == 8: os.link(path, new())
for _ in range(int(sys.argv[2])):
    try: step()
    except (OSError, TypeError): pass
"""


PLAIN = "0123457"
"""The steps that move no folder and give no file another name."""


@pytest.fixture
def joins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_LEAST_PARTS", 1)


@pytest.mark.usefixtures("joins_at_once")
@pytest.mark.parametrize("first", range(len(ALL_CHANGES)))
def test_parts_that_are_joined_are_undone_as_before(recorded: RecordedFolder, first: int) -> None:
    recorded.run(PREPARED)
    part, before = recorded.checkpoint(), recorded.tree()
    for number in range(3):
        recorded.run(
            "try:\n " + ALL_CHANGES[(first + number) % len(ALL_CHANGES)].replace("\n", "\n ") + "\nexcept OSError: pass"
        )
        recorded.checkpoint()
    newest, there = recorded.checkpoint(), recorded.tree()
    recorded.run('open("more", "w").write("x")')
    joining.join_unneeded(recorded.notes, {part, newest})
    recorded.undo(newest)
    assert recorded.tree() == there
    recorded.undo(part)
    assert recorded.tree() == before


def test_as_many_parts_as_there_are_generations_stay(recorded: RecordedFolder) -> None:
    """And what is kept of a file of which the same is overwritten again and again does not grow."""
    with (recorded.folder / "large").open("wb") as file:
        file.truncate(70 << 20)
    part, before = recorded.checkpoint(), hash_file(recorded.folder / "large")
    sizes = []
    for number in range(4 * joining._LEAST_PARTS):
        recorded.run(LARGE, "0", "300000", str((number % 3) << 20))
        recorded.run('open("now", "w").write("x" * 100_000); os.rename("now", "last")')
        joining.join_unneeded(recorded.notes, {part, recorded.checkpoint()})
        sizes.append(size_below(recorded.notes))
    assert len(parts.numbers_of(recorded.notes)) <= joining._LEAST_PARTS + 4
    # without joining it would be twice as much
    assert max(sizes[len(sizes) // 2 :]) <= 1.5 * max(sizes[: len(sizes) // 2])
    recorded.undo(part)
    assert hash_file(recorded.folder / "large") == before
    assert not (recorded.folder / "last").exists()


def after_random_changes(path: Path, seed: int, *, joins: bool, steps: str) -> object:
    """Return what is there after a rollback, or why there was none."""
    path.mkdir()
    recorded = RecordedFolder(path)
    recorded.run(PREPARED + ('os.unlink("second")' if steps == PLAIN else ""))
    part, before, newest = recorded.checkpoint(), recorded.tree(), ""
    for number in range(6):
        recorded.run(RANDOM, str(10 * seed + number), "12", steps)
        newest = recorded.checkpoint()
        if joins and number % 2:
            joining.join_unneeded(recorded.notes, {part, newest})
    recorded.run(RANDOM, str(10 * seed + 9), "12", steps)
    try:
        recorded.undo(part)
    except RestartFailedError:
        return "refused"
    return {
        name: one for name, one in recorded.tree().items() if before.get(name) != one
    }, before.keys() - recorded.tree()


@pytest.mark.usefixtures("joins_at_once")
@pytest.mark.parametrize("steps", ["012345678", PLAIN], ids=["all", "plain"])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_was_changed_is_undone_where_it_was_undone_without_joining(
    tmp_path: Path, seed: int, steps: str
) -> None:
    ends = [after_random_changes(tmp_path / f"{joins}", seed, joins=joins, steps=steps) for joins in (False, True)]
    assert ends[1] == ends[0]
