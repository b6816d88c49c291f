"""Standard streams that the program inherits: what a resume cannot make exact, said before the program runs."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt.feed import Feed
from dmtcp_py.attempt.producer import Producer
from dmtcp_py.engine.unprotected import Unprotected
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.kept_input import KeptInput
from dmtcp_py.store.needs import least_stdin_bytes
from dmtcp_py.system.files import remove_tree
from dmtcp_py.system.pipes import is_readable_pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dmtcp_py.attempt.feed import InputFailed
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.engine.protocol import Stdio
    from dmtcp_py.store.records import Manifest

_NOT_THE_PROGRAMS = re.compile(rb"dmtcp-run: |\S+: line \d+: +\d+ (Killed|Terminated) .*dmtcp-run|slurmstepd: ")
"""Matches the lines of dmtcp-run, and those in which a shell or Slurm reports how dmtcp-run ended."""
_MOST_BYTES = 1 << 16
"""So much of a file is looked at for lines of the program's."""
_NAMES = ((1, "stdout"), (2, "stderr"))


def is_read_once(stdio: Stdio) -> bool:
    """Whether the program cannot be given again what it has read from its standard input."""
    return stdio.stdin is None and _is_pipe(0)


@contextmanager
def fed(plan: Plan, post: Callable[[InputFailed], None], warn: Callable[[str], None]) -> Iterator[Feed | None]:
    """Yield what gives the program its standard input, if that is a pipe whose content is kept; None otherwise.

    Raises DmtcpRunError if it was a pipe in an earlier attempt, which did not end, and is none any more.
    """
    feed = _feed(plan, post, warn)
    try:
        yield feed
    finally:
        if feed is not None:
            feed.close()


def forget_input(plan: Plan, generations: Sequence[int]) -> None:
    """Remove what was kept of the input, once the program has ended, except for what GENERATIONS need."""
    folder = plan.store.layout.input(plan.start.job.lineage)
    if generations:
        needed_from = least_stdin_bytes(plan.store.layout, generations)
        KeptInput(folder, warn=lambda _reason: None).forget_before(needed_from)
    else:
        remove_tree(folder)


def _feed(plan: Plan, post: Callable[[InputFailed], None], warn: Callable[[str], None]) -> Feed | None:
    is_checkpointed = plan.choice is None or not isinstance(plan.choice.engine, Unprotected)
    if plan.stdio.stdin is not None or plan.nodes is not None or not is_checkpointed:
        return None
    kept = _kept_input(plan, warn)
    accepts = plan.options.accept_changed_files
    if is_readable_pipe(0):
        return Feed(kept, Producer(kept, continues=accepts), post)
    if not kept.end and not kept.is_complete:
        return None
    if kept.is_complete or accepts:
        return Feed(kept, None, post)
    raise DmtcpRunError(
        f"the program has read {kept.end} bytes from a pipe on standard input, which did not end, and now there is no "
        "pipe",
        "run the line as it was, with --accept-changed-files to let the input end there, or with --fresh to start over",
    )


def _kept_input(plan: Plan, warn: Callable[[str], None]) -> KeptInput:
    """Return what the program has read from pipes in earlier attempts."""
    store = plan.store

    def warn_of_gap(reason: str) -> None:
        warn(
            f"what comes from standard input is not kept any more, because {reason}; a resume needs it to come again "
            "from the beginning"
        )

    kept = KeptInput(store.layout.input(plan.start.job.lineage), warn_of_gap)
    if not plan.start.candidates or not kept.end:
        # where nothing was read, anything may come
        remove_tree(store.layout.inputs)
        kept.clear()
    before, now = store.before, store.lock.record
    is_trusted = before is not None and (before.record.released or before.record.boot_id == now.boot_id)
    kept.recover(is_trusted=is_trusted)
    return kept


def notes_on_start(stdio: Stdio) -> list[str]:
    """Return what a later resume will not be able to restore."""
    notes = []
    if is_read_once(stdio):
        notes.append(
            f"standard input is {_kind(0)}: a resume cannot read again what the program has read from it; "
            "use '< FILE' or --stdin FILE"
        )
    emptied = {
        name: os.readlink(f"/proc/self/fd/{fd}") for fd, name in _NAMES if stdio.paths[fd] is None and _is_emptied(fd)
    }
    if emptied:
        options = " and ".join(f"--{name} FILE" for name in emptied)
        notes.append(f"{_are_files(emptied)}, which '>' empties when this line resumes; use {options} (exact) or '>>'")
    return notes


def sizes_now() -> tuple[int, ...]:
    """Return the sizes of our own streams, -1 for one that is no file; call it before the program runs on."""
    return tuple(-1 if (size := _size(fd)) is None else size for fd in range(3))


def own_files() -> list[Path]:
    """Return the files that our own output streams are."""
    return [Path(os.readlink(f"/proc/self/fd/{fd}")) for fd, _ in _NAMES if stat.S_ISREG(_mode(fd))]


def size_written(fd: int) -> int | None:
    """Return the size of our own stream FD, 0 if nobody but us has written there; None if it is no file."""
    try:
        size = _size(fd)
        return 0 if size and _are_ours(fd, 0, size) else size
    except OSError:
        return None


def losses_on_resume(manifest: Manifest, stdio: Stdio, sizes: Sequence[int], *, is_fed: bool) -> list[str]:
    """Return what the program's streams, which had SIZES before it ran on, lack since MANIFEST's generation."""
    notes = []
    if is_read_once(stdio) or (is_fed and manifest.stdin_bytes is None):
        notes.append("standard input was not kept: the program continues to read at the beginning of this one")
    emptied = [
        name
        for fd, name in _NAMES
        if stdio.paths[fd] is None and _is_short(manifest, fd, sizes) and not _is_another(manifest, fd)
    ]
    if emptied:
        notes.append(
            f"{' and '.join(emptied)} lack{'s' if len(emptied) == 1 else ''} what the program wrote before generation "
            f"{manifest.generation} was taken, as '>' empties a file; use '>>', or "
            f"{' and '.join(f'--{name} FILE' for name in emptied)}"
        )
    return notes


def repeats_on_resume(manifest: Manifest, stdio: Stdio, sizes: Sequence[int]) -> list[str]:
    """Return what will be in the program's streams, which had SIZES before, once more after a crash, as after each."""
    if manifest.program_stopped:
        return []
    notes = []
    inherited = {fd: stdio.paths[fd] is None for fd, _ in _NAMES}
    files = [name for fd, name in _NAMES if inherited[fd] and _has_more(manifest, fd, sizes)]
    if files:
        keep = "keeps" if len(files) == 1 else "keep"
        notes.append(
            f"what the program wrote to {' and '.join(files)} since generation {manifest.generation} will be repeated; "
            f"{' and '.join(f'--{name} FILE' for name in files)} {keep} it exact"
        )
    pipes = [name for fd, name in _NAMES if inherited[fd] and _is_pipe(fd)]
    if pipes:
        notes.append(
            f"{_are_pipes(pipes)} what the program prints from generation {manifest.generation} on, and nothing from "
            "before; what it printed between then and its end comes once more. 'tee' without -a empties its file; "
            "--stdout FILE and --stderr FILE are exact"
        )
    return notes


def note_on_reader(manifest: Manifest, stdio: Stdio) -> str | None:
    """Return what a reader of the program's output gets after a stop, in which nothing was lost or repeated."""
    if not manifest.program_stopped or stdio.stdout is not None or not _is_pipe(1):
        return None
    return (
        f"{_are_pipes(['stdout'])} what the program prints from generation {manifest.generation} on, and nothing from "
        "before ('tee' without -a empties its file)"
    )


def _is_short(manifest: Manifest, fd: int, sizes: Sequence[int]) -> bool:
    size = _size_then(manifest, fd)
    return size is not None and 0 <= sizes[fd] < size


def _has_more(manifest: Manifest, fd: int, sizes: Sequence[int]) -> bool:
    """Whether the file of FD, now of SIZES, had more than when MANIFEST was taken, and more than our own lines."""
    size = _size_then(manifest, fd)
    return size is not None and sizes[fd] > size and not _are_ours(fd, size, sizes[fd])


def _are_ours(fd: int, start: int, end: int) -> bool:
    """Return whether the file behind FD holds only lines of dmtcp-run from START to END, which may be far apart."""
    try:
        with Path(f"/proc/self/fd/{fd}").open("rb") as file:
            file.seek(start)
            lines = file.read(min(end - start, _MOST_BYTES)).splitlines()
    except OSError:
        return False
    return end - start <= _MOST_BYTES and all(map(_NOT_THE_PROGRAMS.match, lines))


def _size_then(manifest: Manifest, fd: int) -> int | None:
    return manifest.stdout_size if fd == 1 else manifest.stderr_size


def _is_another(manifest: Manifest, fd: int) -> bool:
    """Whether FD is another file than it was, as the log of another batch job is: nothing was lost of that."""
    inode = manifest.stdout_inode if fd == 1 else manifest.stderr_inode
    return inode is not None and inode != os.fstat(fd).st_ino


def _are_files(files: dict[str, str]) -> str:
    """Return which stream is which of FILES."""
    if len(set(files.values())) < len(files):
        return f"{' and '.join(files)} are {next(iter(files.values()))}"
    return " and ".join(f"{name} is {file}" for name, file in files.items())


def _are_pipes(names: Sequence[str]) -> str:
    are = "is a pipe, whose reader gets" if len(names) == 1 else "are pipes, whose readers get"
    return f"{' and '.join(names)} {are}"


def _is_pipe(fd: int) -> bool:
    mode = _mode(fd)
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _kind(fd: int) -> str:
    return "a socket" if stat.S_ISSOCK(_mode(fd)) else "a pipe"


def _is_emptied(fd: int) -> bool:
    """Whether the descriptor was opened as by a shell's ``>``."""
    return stat.S_ISREG(_mode(fd)) and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND


def _size(fd: int) -> int | None:
    return os.fstat(fd).st_size if stat.S_ISREG(_mode(fd)) else None


def _mode(fd: int) -> int:
    try:
        return os.fstat(fd).st_mode
    except OSError:
        return 0
