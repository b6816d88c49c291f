"""Kills the lines that keep the journal of changed files at each system call that they make, and types them again.

Run as a program, with the C text below loaded into it: ``SCENARIO FOLDER``. Prints the number of kills, or fails with
what is not as it should be. A kill comes before the n-th call that writes anything, or in the middle of it where it
writes a block; what was done before stays, as after SIGKILL. `faults.calls` has calls fail instead.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import RestartFailedError
from dmtcp_py.native import built
from dmtcp_py.rollback import joining, parts, recording, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

C_TEXT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static long left = -1;
static int tears, error, has_failed;

void kill_at(long number, int in_the_middle)
{
    left = number;
    tears = in_the_middle;
}

/* Have one call fail with the ERROR, or write a part only if that is 0. */
void fail_at(long number, int given)
{
    left = number;
    error = given;
    tears = 1;
    has_failed = -1;
}

/* Whether there was such a call. */
int was_reached(void)
{
    return left < 0;
}

static int is_last(void)
{
    return left >= 0 && left-- == 0;
}

static int end(void)
{
    if (!has_failed)
        kill(getpid(), SIGKILL);
    has_failed = 1;
    errno = error;
    return -1;
}

#define NEXT(name) static __typeof__(name) *next; if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define PLAIN(type, name, parameters, arguments) \
    type name parameters { NEXT(name); if (is_last() && (error || !has_failed)) return (type)end(); \
        return next arguments; }
#define BLOCK(name, parameters, size, arguments) \
    ssize_t name parameters { NEXT(name); if (!is_last()) return next arguments; \
        if (has_failed && error) return end(); \
        if (tears) { size = (size + 1) / 2; ssize_t done = next arguments; if (has_failed) { end(); return done; } } \
        return end(); }
#define OPENS(name, parameters, mode_of, arguments) \
    int name parameters { NEXT(name); va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? \
        va_arg(rest, mode_t) : 0; va_end(rest); \
        if (flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR) && is_last() && (error || !has_failed)) return end(); \
        return next arguments; }

OPENS(open, (const char *path, int flags, ...), mode, (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), mode, (path, flags, mode))
OPENS(openat, (int dir, const char *path, int flags, ...), mode, (dir, path, flags, mode))
OPENS(openat64, (int dir, const char *path, int flags, ...), mode, (dir, path, flags, mode))
BLOCK(write, (int fd, const void *data, size_t size), size, (fd, data, size))
BLOCK(pwrite, (int fd, const void *data, size_t size, off_t at), size, (fd, data, size, at))
BLOCK(pwrite64, (int fd, const void *data, size_t size, off64_t at), size, (fd, data, size, at))
ssize_t sendfile(int, int, off_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);
BLOCK(sendfile, (int to, int from, off_t *at, size_t size), size, (to, from, at, size))
BLOCK(sendfile64, (int to, int from, off64_t *at, size_t size), size, (to, from, at, size))
BLOCK(copy_file_range, (int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags), size,
      (from, a, to, b, size, flags))
PLAIN(int, mkdir, (const char *path, mode_t mode), (path, mode))
PLAIN(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
PLAIN(int, rmdir, (const char *path), (path))
PLAIN(int, unlink, (const char *path), (path))
PLAIN(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
PLAIN(int, rename, (const char *old, const char *new), (old, new))
PLAIN(int, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new))
PLAIN(int, link, (const char *old, const char *new), (old, new))
PLAIN(int, linkat, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags))
PLAIN(int, symlink, (const char *text, const char *path), (text, path))
PLAIN(int, symlinkat, (const char *text, int dir, const char *path), (text, dir, path))
PLAIN(int, mkfifo, (const char *path, mode_t mode), (path, mode))
PLAIN(int, mkfifoat, (int dir, const char *path, mode_t mode), (dir, path, mode))
PLAIN(int, truncate, (const char *path, off_t size), (path, size))
PLAIN(int, truncate64, (const char *path, off64_t size), (path, size))
PLAIN(int, ftruncate, (int fd, off_t size), (fd, size))
PLAIN(int, ftruncate64, (int fd, off64_t size), (fd, size))
PLAIN(int, chmod, (const char *path, mode_t mode), (path, mode))
PLAIN(int, fchmod, (int fd, mode_t mode), (fd, mode))
PLAIN(int, fchmodat, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags))
PLAIN(int, utimensat, (int dir, const char *path, const struct timespec *at, int flags), (dir, path, at, flags))
PLAIN(int, futimens, (int fd, const struct timespec *at), (fd, at))
PLAIN(int, utimes, (const char *path, const struct timeval *at), (path, at))
PLAIN(int, fsync, (int fd), (fd))
PLAIN(int, fdatasync, (int fd), (fd))
"""

PREPARED = """
for name in ("one", "two", "three", "kept"):
    open(name, "w").write(name * 500)
open("empty", "w").close()
os.chmod("empty", 0o640)
os.makedirs("a/below"); os.makedirs("b"); os.mkdir("bare", 0o750)
for name in ("a/file", "a/below/file", "b/file"):
    open(name, "w").write(name)
os.symlink("one", "link"); os.link("two", "second"); os.mkfifo("pipe")
"""
CHANGED = """
open("one", "w").write("changed")
open("kept", "a").write("more")
os.rename("three", "four")
os.unlink("second")
os.unlink("link"); os.symlink("kept", "link")
os.rename("a", "old"); os.mkdir("a"); open("a/file", "x").write("new")
os.unlink("empty"); os.mkdir("empty")
os.rmdir("bare"); open("bare", "w").write("no folder any more")
os.unlink("pipe"); open("pipe", "w").close()
os.makedirs("made/below"); open("made/below/file", "w").write("x")
"""
MORE = 'open("one", "a").write("+"); open("kept", "w").write("other"); os.rename("old", "older")'
PLAIN = """

open("one", "w").write("changed " + number)
open("kept", "a").write("more")
os.rename("three", "three" + number); open("three", "w").write(number)
open("new" + number, "w").write("x"); os.rename("new" + number, "a/file")
"""
"""What parts of the journal have that can be joined."""
OPEN_WHEN_MOVED = """
fd = os.open("three", os.O_WRONLY | os.O_APPEND)
sys.stdout.write("open\\n"); sys.stdout.flush(); sys.stdin.readline()
os.rename("three", "moved"); os.link("moved", "by another name"); os.write(fd, b"goes on")
"""
_LONG_S = 60.0
_SET_ASIDE = "set-aside"
joining._LEAST_PARTS = 1


class Lab:
    """A folder of files, the journal of what programs do to them, and what was said of it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / "work"
        self.notes = place / "job" / "undo"
        self.told: list[str] = []
        for folder in (self.folder, self.notes.parent):
            folder.mkdir(parents=True)

    def run(self, text: str) -> None:
        """Run a program with this TEXT that records what it does."""
        subprocess.run(self._argv(text), cwd=self.folder, env=self._environ, check=True, timeout=_LONG_S)

    def run_around(self, text: str, between: Callable[[], str]) -> str:
        """Run a program with this TEXT, and do what is BETWEEN once it says a line; return what that returns."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(self._argv(text), cwd=self.folder, env=self._environ, **pipes) as process:
            process.stdout.readline()
            found = between()
            process.communicate(b"\n", timeout=_LONG_S)
        assert process.returncode == 0
        return found

    @property
    def _environ(self) -> dict[str, str]:
        return {**os.environ, "LD_PRELOAD": str(built("files")), recording.VARIABLE: str(self.notes)}

    def _argv(self, text: str) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", f"import os, sys\n{text}"]

    def begin(self, *, lineage: int = 1, is_once_more: bool = False) -> None:
        """Start the program from its beginning."""
        undo.start(self.notes, lineage=lineage, is_once_more=is_once_more, warn=self.say)
        recording.begin(self.notes)

    def checkpoint(self) -> str:
        """Begin a new part as a checkpoint does."""
        recording.hold(self.notes)
        part = recording.make_ready(self.notes)
        with recording.closed_gate(self.notes, for_last=False):
            parts.begin_next(self.notes)
        recording.release(self.notes)
        return part

    def resume(self, part: str) -> None:
        """Go back to the generation that began with PART, as a restart does."""
        undo.go_back(self.notes, undo.Goal(part=part, program_stopped=False), accept=False, warn=self.say)

    def say(self, text: str) -> None:
        """Remember what was said, also by a line that is killed then."""
        self.told.append(text)
        with (self.place / "said").open("a") as file:
            file.write(f"{text}\n")

    def tree(self) -> dict[str, object]:
        """Return all that is in the folder, by name."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob("*")):
            mode = path.lstat().st_mode
            what: object = None
            if stat.S_ISREG(mode):
                what = (path.read_bytes(), path.lstat().st_mtime_ns if path.lstat().st_size else None)
            elif stat.S_ISLNK(mode):
                mode, what = stat.S_IFLNK, os.readlink(path)
            found[str(path.relative_to(self.folder))] = (oct(mode), what)
        return found

    def assert_tree(self, wanted: dict[str, object]) -> None:
        """Assert that the folder is as WANTED, and that nothing was said but what was set aside."""
        found = self.tree()
        differing = {name: (found.get(name), wanted.get(name)) for name in {*found, *wanted}}
        differing = {name: both for name, both in differing.items() if both[0] != both[1]}
        assert not differing, f"found and wanted: {differing}"
        others = [text for text in self.told if _SET_ASIDE not in text]
        assert not others, others

    def assert_goes_on(self, part: str, wanted: dict[str, object]) -> None:
        """Assert that what a program does now is recorded, and undone once more."""
        self.run(MORE.partition("; os.rename")[0])
        self.resume(part)
        self.assert_tree(wanted)


Steps = "tuple[Callable[[], object], Callable[[], None]]"


def the_first_start(lab: Lab) -> Steps:
    lab.run(PREPARED)
    before = lab.tree()

    def check() -> None:
        lab.begin(is_once_more=True)
        lab.assert_tree(before)
        lab.run(CHANGED)
        lab.begin(is_once_more=True)
        lab.assert_tree(before)

    return lab.begin, check


def a_start_once_more(lab: Lab) -> Steps:
    lab.run(PREPARED)
    before = lab.tree()
    lab.begin()
    lab.run(CHANGED)

    def again() -> None:
        lab.begin(is_once_more=True)

    def check() -> None:
        again()
        lab.assert_tree(before)

    return again, check


def a_new_lineage_after_the_end(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    lab.run(CHANGED)
    results = lab.tree()

    def check() -> None:
        # the record of the job is of the new lineage already
        lab.begin(lineage=2, is_once_more=True)
        lab.assert_tree(results)

    return lambda: lab.begin(lineage=2), check


def a_checkpoint(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    part = lab.checkpoint()
    before = lab.tree()
    lab.run(CHANGED)

    def check() -> None:
        lab.resume(part)
        lab.assert_tree(before)
        lab.assert_goes_on(part, before)
        later = lab.checkpoint()
        assert parts.has_begun(lab.notes, later)
        lab.assert_goes_on(later, before)

    return lab.checkpoint, check


def a_resume(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    part = lab.checkpoint()
    before = lab.tree()
    lab.run(CHANGED)
    lab.checkpoint()
    lab.run(MORE)

    def check() -> None:
        lab.resume(part)
        lab.assert_tree(before)
        kept = lab.notes.parent / _SET_ASIDE
        assert any(path.read_text() == "changed" for path in kept.iterdir() if path.is_file())
        assert _SET_ASIDE in (lab.place / "said").read_text(), "what was set aside was never said"
        lab.assert_goes_on(part, before)

    return lambda: lab.resume(part), check


def a_resume_where_an_open_file_was_moved(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    before = lab.tree()
    part = lab.run_around(OPEN_WHEN_MOVED, lab.checkpoint)
    # the second name is as large as the moved file
    assert lab.tree() != before

    def check() -> None:
        lab.resume(part)
        lab.assert_tree(before)

    return lambda: lab.resume(part), check


def a_resume_of_an_older_generation(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    older = lab.checkpoint()
    before = lab.tree()
    lab.run(CHANGED)
    newer = lab.checkpoint()
    changed = lab.tree()
    lab.run(MORE)

    def check() -> None:
        with suppress(RestartFailedError):
            lab.resume(newer)
            lab.assert_tree(changed)
        lab.resume(older)
        lab.assert_tree(before)

    return lambda: lab.resume(older), check


def forgetting(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    lab.checkpoint()
    lab.run('open("kept", "a").write("1")')
    older, before = lab.checkpoint(), lab.tree()
    lab.run(CHANGED)
    newer, changed = lab.checkpoint(), lab.tree()
    lab.run(MORE)

    def check() -> None:
        lab.resume(newer)
        lab.assert_tree(changed)
        lab.resume(older)
        lab.assert_tree(before)
        recording.forget_unneeded(lab.notes, [older])
        left = [path.name for path in lab.notes.iterdir() if path.is_dir() and path.name < older]
        assert not left, left

    return lambda: recording.forget_unneeded(lab.notes, [older, newer]), check


def joining_parts(lab: Lab) -> Steps:
    lab.run(PREPARED)
    lab.begin()
    older, before = lab.checkpoint(), lab.tree()
    for number in range(3):
        lab.run(f'number = "{number}"' + PLAIN)
        lab.checkpoint()
    newer, changed = lab.checkpoint(), lab.tree()
    lab.run('open("kept", "a").write("+")')

    def check() -> None:
        lab.resume(newer)
        lab.assert_tree(changed)
        joining.join_unneeded(lab.notes, [older, newer])
        lab.resume(older)
        lab.assert_tree(before)

    return lambda: joining.join_unneeded(lab.notes, [older, newer]), check


SCENARIOS = {
    call.__name__: call
    for call in (
        the_first_start,
        a_start_once_more,
        a_new_lineage_after_the_end,
        a_checkpoint,
        a_resume,
        a_resume_where_an_open_file_was_moved,
        a_resume_of_an_older_generation,
        forgetting,
        joining_parts,
    )
}


def kills(scenario: str, folder: Path) -> Iterator[tuple[int, bool]]:
    """Yield each kill that was come through."""
    kill_at = ctypes.CDLL(None).kill_at
    number, has_ended = 0, False
    while not has_ended:
        for is_torn in (False, True):
            lab = Lab(folder / f"{number}-{is_torn:d}")
            line, check = SCENARIOS[scenario](lab)
            pid = os.fork()
            if pid == 0:
                kill_at(number, int(is_torn))
                line()
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            has_ended = status == 0
            assert has_ended or os.WTERMSIG(status) == signal.SIGKILL, "it failed"
            try:
                check()
            except Exception as error:
                raise AssertionError(f"killed {'in' if is_torn else 'before'} call {number}: {error}") from error
            shutil.rmtree(lab.place)
            yield number, is_torn
        number += 1


if __name__ == "__main__":
    sys.stdout.write(str(sum(1 for _ in kills(sys.argv[1], Path(sys.argv[2])))))
