"""Keeps the files of --stdout and --stderr for one job at a time: another one would empty them while this one writes.

A running job holds its files by a lock. An unfinished one, which needs them when it is resumed, is found by its record,
if it is in the same directory of jobs.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt.identity import as_recorded
from dmtcp_py.attempt.other_jobs import can_be_resumed
from dmtcp_py.errors import StoreError, UsageError
from dmtcp_py.store.layout import jobs_in
from dmtcp_py.store.lock import is_running
from dmtcp_py.store.records import Job, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.attempt.plan import Plan


@contextmanager
def sole_writer(plan: Plan) -> Iterator[Callable[[], None]]:
    """Hold the files to which the program writes its output; yield what makes and holds those that do not exist.

    That is to be called before the program is launched. A file that was made so and is still empty goes if the attempt
    fails. Both raise UsageError if a file is another job's.
    """
    # both streams may go to one file
    options = {path: name for name, path in (("stderr", plan.stdio.stderr), ("stdout", plan.stdio.stdout)) if path}
    if not plan.start.candidates and any(path.is_file() and path.stat().st_size for path in options):
        _refuse_anothers(plan)
    with ExitStack() as stack:
        outputs = _Outputs(options, stack)
        outputs.hold_existing()
        try:
            yield outputs.make_missing
        except BaseException:
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


def _refuse_anothers(plan: Plan) -> None:
    """Raise UsageError if a file that this start would empty is the output of an unfinished job."""
    layout, recorded = plan.store.layout, as_recorded(plan.identity)
    mine = {recorded[name]: name for name in ("stderr", "stdout") if recorded[name]}
    for other in jobs_in(layout.root.parent):
        if other.root == layout.root:
            continue
        with suppress(OSError, StoreError):
            job = read_record(other.job, Job)
            for path in {job.stdout, job.stderr} & mine.keys():
                if is_running(other):
                    raise _taken(mine[path], path, f"job {other.name}, which runs")
                if can_be_resumed(other, job):
                    error = _taken(mine[path], path, f"job {other.name}, which is unfinished")
                    error.hint += f"; 'dmtcp-ctl remove {other.name} --unfinished' gives that job up"
                    raise error


def _taken(name: str, path: Path | str | None, whose: str) -> UsageError:
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
