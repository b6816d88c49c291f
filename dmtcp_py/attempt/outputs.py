"""Keeps the files of --stdout and --stderr for one job at a time: another one would empty them while this one writes.

A running job holds its files by a lock. What it needs besides, and what an unfinished one needs to be resumed, is found
by the records of jobs: those in the same directory of jobs, and in those of the folders above the file.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.attempt.needed_files import needed_by, outputs_of
from dmtcp_py.attempt.other_jobs import can_be_resumed, line_to_remove
from dmtcp_py.errors import FencedError, StoreError, UsageError
from dmtcp_py.options import DIRECTORY
from dmtcp_py.store.access import refuse_directory
from dmtcp_py.store.layout import jobs_in
from dmtcp_py.store.lock import is_running
from dmtcp_py.store.records import Job, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.store.layout import JobLayout


@contextmanager
def sole_writer(plan: Plan) -> Iterator[Callable[[], None]]:
    """Hold the files to which the program writes its output; yield what makes and holds those that do not exist.

    That is to be called before the program is launched. A file that was made so and is still empty goes if the attempt
    fails, unless a generation or another attempt may need it. Both raise UsageError if a file is another job's.
    """
    # both streams may go to one file
    options = {path: name for name, path in (("stderr", plan.stdio.stderr), ("stdout", plan.stdio.stdout)) if path}
    if not plan.start.candidates:
        _refuse_anothers(plan.store.layout, options)
    with ExitStack() as stack:
        outputs = _Outputs(options, stack)
        outputs.hold_existing()
        try:
            yield outputs.make_missing
        except FencedError:
            raise
        except BaseException:
            if not plan.store.layout.generation_numbers():
                outputs.remove_empty()
            raise


class _Outputs:
    """The files with these OPTIONS, which are held until the end of STACK."""

    def __init__(self, options: dict[Path, str], stack: ExitStack) -> None:
        self._options, self._stack = options, stack
        self._left = list(options)
        self._made: list[Path] = []

    def hold_existing(self) -> None:
        """Hold those that exist."""
        for path in filter(Path.is_file, tuple(self._left)):
            self._hold(path, 0)

    def make_missing(self) -> None:
        """Make and hold the others; another job may make them at the same moment."""
        for path in tuple(self._left):
            if path.exists() and not path.is_file():
                continue
            is_new = not path.exists()
            self._hold(path, os.O_CREAT)
            if is_new:
                self._made.append(path)

    def remove_empty(self) -> None:
        """Remove those that were made and are still empty."""
        for path in self._made:
            with suppress(OSError):
                if path.stat().st_size == 0:
                    path.unlink()

    def _hold(self, path: Path, flags: int) -> None:
        if not _is_held(path, flags, self._stack):
            raise _taken(self._options[path], path, f"another job, which runs{_where(path)}")
        self._left.remove(path)


class _Asked(NamedTuple):
    """The files that a start would empty or make, with their options: by name, and by inode if they have content."""

    options: dict[Path, str]
    by_name: dict[str, Path]
    by_id: dict[tuple[int, int], Path]


def _refuse_anothers(layout: JobLayout, options: dict[Path, str]) -> None:
    """Raise UsageError if a start of the job in LAYOUT would empty or make a file that another job needs."""
    files = [path for path in options if path.is_file() or not path.exists()]
    asked = _Asked(
        options=options,
        by_name={os.path.realpath(path): path for path in files},
        by_id={_id_of(path): path for path in files if path.is_file() and path.stat().st_size},
    )
    folders = {folder for path in files for folder in (*path.parents, *path.resolve().parents)}
    # nobody has jobs where they cannot write
    beside = {folder / DIRECTORY for folder in folders if os.access(folder, os.W_OK)}
    for directory in {path.resolve() for path in (layout.root.parent, *beside)} if files else ():
        with suppress(OSError, StoreError):
            refuse_directory(directory)
            for other in jobs_in(directory):
                if other.root != layout.root.resolve():
                    _refuse_files_of(other, asked)


def _refuse_files_of(layout: JobLayout, asked: _Asked) -> None:
    """Raise UsageError if the job in LAYOUT writes one of the files ASKED for, or needs what is in it."""
    with suppress(OSError, StoreError):
        job = read_record(layout.job, Job)
        outputs = [
            asked.by_name.get(os.path.realpath(file)) or asked.by_id.get(_id_of(file)) for file in outputs_of(job)
        ]
        if not any(outputs) and not asked.by_id:
            return
        runs = is_running(layout)
        if not runs and not can_be_resumed(layout, job):
            return
        needed = (asked.by_id.get(_id_of(file)) for file in needed_by(layout, job)) if asked.by_id else ()
        for files, use in ((outputs, "the output of"), (needed, "needed by")):
            for path in filter(None, files):
                raise _needed(layout, path, asked.options[path], use, runs=runs)


def _id_of(path: Path) -> tuple[int, int]:
    with suppress(OSError, ValueError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return 0, 0


def _needed(layout: JobLayout, path: Path, name: str, use: str, *, runs: bool) -> UsageError:
    hint = f"name another file with --{name}"
    if not runs:
        hint += f"; '{line_to_remove(layout)}' gives that job up"
    state = "runs" if runs else "is unfinished"
    return UsageError(f"--{name} {path} is {use} job {layout.name}, which {state}", hint)


def _taken(name: str, path: Path, whose: str) -> UsageError:
    return UsageError(f"--{name} {path} is the output of {whose}", f"name another file with --{name}")


def _is_held(path: Path, flags: int, stack: ExitStack) -> bool:
    """Lock PATH, opened with FLAGS, until the end of STACK; return False if another process has the lock."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o666)
    stack.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # this file system has no locks
        return True
    return True


def _where(path: Path) -> str:
    """Return which process of this machine has the lock of PATH, as the kernel tells."""
    inode = f":{path.stat().st_ino}"
    with suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, _, _, pid, file, *_ = line.split()
            if kind == "FLOCK" and file.endswith(inode) and int(pid) > 0:
                return f" as pid {pid}"
    return ""
