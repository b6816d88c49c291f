"""Recording what a program does to files by name, seen from the supervisor: when parts of the journal begin and go.

``native/journal.c`` writes the journal. A new part begins with each computation, and at each checkpoint while all
processes are suspended; a generation remembers the part that began with it. `dmtcp_py.rollback.undo` undoes parts.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import CheckpointFailedError
from dmtcp_py.rollback import in_memory
from dmtcp_py.rollback.journal import paths_not_kept, reset_lost
from dmtcp_py.rollback.parts import (
    BOOT,
    GATE,
    HOLD,
    NEXT,
    SEEN,
    SHUT,
    UNFINISHED,
    VOID,
    begin_next,
    next_name,
    numbers_of,
)
from dmtcp_py.rollback.shared_files import remember_appended
from dmtcp_py.system.files import claim_folder, make_private_dir, own_folder, remove_tree, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

VARIABLE = "DMTCP_RUN_UNDO"
"""The environment variable that leads the library in the program to the journal, if its engine does not."""
MEMORY_VARIABLE = "DMTCP_RUN_SHM"
"""The environment variable that has the library record changes in /dev/shm under CRIU."""
_PARTIAL, _NEW_NEXT = ".partial", ".next"
_GATE_S = 10.0
_LOOK_S = 0.01


def begin(root: Path | None) -> None:
    """Begin a new part, before a computation starts."""
    if root is None:
        return
    for name in (HOLD, SHUT, UNFINISHED, SEEN):
        (root / name).unlink(missing_ok=True)
    make_ready(root)
    _make_gate(root)
    write_atomic(root / BOOT, "\n".join(_boot()).encode())
    begin_next(root)
    for leftover in [*root.glob(f"*{VOID}"), *root.glob(".*.tmp")]:
        remove_tree(leftover)


def _make_gate(root: Path) -> None:
    """Make the gate; where its file system has no locks, it is a link to a file of the job on this machine.

    The file has the same path on each machine: a process may have it open in an image.
    """
    gate = root / GATE
    if not gate.is_symlink():
        gate.touch(mode=0o600)
        if _can_lock(gate):
            return
        gate.unlink()
        gate.symlink_to(own_folder(root.parent, Path(tempfile.gettempdir())) / GATE)
    target = Path(os.readlink(gate))
    claim_folder(target.parent)
    target.touch(mode=0o600)


def _can_lock(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def make_ready(root: Path) -> str:
    """Make the part that the next checkpoint begins, and return its name.

    Like a generation it is made under another name and renamed: a part without `lost` would be one in which a change
    could not be recorded.
    """
    make_private_dir(root)
    name, partial, link = next_name(root), root / _PARTIAL, root / _NEW_NEXT
    remove_tree(partial)
    make_private_dir(partial)
    reset_lost(partial)
    partial.rename(root / name)
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.replace(root / NEXT)
    return name


def make_ready_for_checkpoint(root: Path, *, holds: bool) -> str:
    """Make the part that a checkpoint begins, and with HOLDS have processes wait for `release`; return its name.

    Raises CheckpointFailedError if there is no room for it.
    """
    try:
        if holds:
            hold(root)
        return make_ready(root)
    except OSError as error:
        with suppress(OSError):
            release(root)
        raise CheckpointFailedError(
            f"{error.filename or root} cannot be written: {error.strerror}", "make room there", program_lives=True
        ) from error


@contextmanager
def closed_gate(root: Path | None, *, for_last: bool) -> Iterator[None]:
    """Wait until no process is between recording a change and making it, and keep it so.

    Raises CheckpointFailedError if a process does not come out in time, unless it is FOR the LAST checkpoint.
    """
    if root is None:
        yield
        return
    try:
        (root / SHUT).touch(mode=0o600)
        # NFS locks only what is open for writing
        with (root / GATE).open("r+b") as gate:
            _lock(gate, for_last=for_last)
            yield
    finally:
        (root / SHUT).unlink(missing_ok=True)


def hold(root: Path | None) -> None:
    """Have the processes that the next checkpoint suspends not run on before `release`."""
    if root is not None:
        (root / HOLD).touch()


def release(root: Path | None) -> None:
    """Let them run on."""
    if root is not None:
        (root / HOLD).unlink(missing_ok=True)


def forget_unneeded(root: Path, needed: Sequence[str]) -> None:
    """Remove the parts that are older than all NEEDED ones; nothing if none is needed."""
    oldest = min(map(int, needed), default=0)
    for number in numbers_of(root):
        if number < oldest:
            remember_appended(root, root / f"{number:06}")
            in_memory.remember(root, root / f"{number:06}")
            remove_tree(root / f"{number:06}")


def not_kept(root: Path, begun: str) -> list[str]:
    """Return the files whose old content could not be kept in the part before BEGUN."""
    before = [number for number in numbers_of(root) if number < int(begun)]
    return paths_not_kept(root / f"{before[-1]:06}") if before else []


def has_gone_down(root: Path) -> bool:
    """Whether this machine wrote the last part and was booted since: it kept some of it in its memory."""
    last = _last_boot(root)
    return last is not None and last[0] == _boot()[0] and last[1] != _boot()[1]


def has_lost_memory(root: Path) -> bool:
    """Whether what was in memory is gone, as this machine was booted since the last part began, or is another one."""
    last = _last_boot(root)
    return last is not None and last[1] != _boot()[1]


def _last_boot(root: Path) -> tuple[str, str] | None:
    with suppress(OSError, ValueError):
        host, boot_id = (root / BOOT).read_text(encoding="utf-8").split("\n")
        return host, boot_id
    return None


def _lock(gate: BinaryIO, *, for_last: bool) -> None:
    until = time.monotonic() + _GATE_S
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOOK_S)
    if for_last:
        return
    raise CheckpointFailedError(
        f"a process has been opening, moving or removing a file for {_GATE_S:.0f} s",
        "does its file system answer?",
        program_lives=True,
    )


def _boot() -> tuple[str, str]:
    return os.uname().nodename, Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
