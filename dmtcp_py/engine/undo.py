"""What a program did to files by their names since a checkpoint, and how it is undone before a resume.

`native/files.c` writes it down, in parts: a new one begins at each checkpoint, while all processes are suspended, and
with each computation. A generation remembers which part began with it; to go back to it, that part and all later ones
are undone, last line first. Nothing is changed unless everything can be undone, and nothing is deleted: what is taken
away is set aside in the job's folder. What is undone leaves the list, so that a rollback that was interrupted is taken
up again; a part after that of the generation is void then, and so is a generation that began with it.

A line is ``length name-key content-key kind size mtime-ns mode inode device copy path``, with tabs between, and a NUL
before and after it; its length is what follows the first tab. Kinds: C, it was not there; A, it was only appended to,
and had this size; F, it had the content of the copy, a file in the part (``-``: there is none); D, it was a folder; P,
it was a pipe; M, a folder was moved (path, newline, new path; the size is the length of the first).

A part also has ``lost``: who cannot write a line writes the path there, over what was written before, or removes it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.neighbours import remember_appended, shared
from dmtcp_py.engine.notes import lost_in, problems_of, read_notes, reset_lost
from dmtcp_py.engine.putback import Aside, undo_part
from dmtcp_py.errors import CheckpointFailedError, RestartFailedError
from dmtcp_py.files import make_private_dir, remove_tree, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from dmtcp_py.engine import Restart

KEY = "undo"
"""Under it a generation's data of its engine name the part that began with it."""
VARIABLE = "DMTCP_RUN_UNDO"
"""Leads what is loaded into the program to the notes, where its engine does not."""
NOW, NEXT, HOLD, GATE, SHUT, BOOT = "now", "next", "hold", "gate", "shut", "boot"
_START = "start"
"""Names the part with which the program began, for as long as there is no generation to go back to."""
_GATE_S = 10.0
_LOOK_S = 0.01
_VOID = ".void"
_SET_ASIDE = "set-aside"
ACCEPT = "--accept-changed-files goes on all the same"


def go_back(restart: Restart) -> None:
    """Undo what was done since the generation of RESTART, and begin a new part; see `undo` for the errors."""
    manifest = restart.manifest
    if restart.undo is not None and KEY in manifest.engine_data:
        if not manifest.program_stopped and _has_gone_down(restart.undo):
            restart.tell(
                "the machine went down since then: what the program did to files by their names in the last half "
                "minute before may not have been noted, and is done once more"
            )
        undo(restart.undo, manifest.engine_data[KEY], accept=restart.accepts_changed, tell=restart.tell)
    begin(restart.undo)


def start(root: Path, *, is_once_more: bool, tell: Callable[[str], None]) -> None:
    """Prepare for a program's start from its beginning.

    Where it IS_ONCE_MORE, as nothing was committed of the start before, undo what can be undone of what it did then,
    and TELL the rest.
    """
    make_private_dir(root)
    record = root / _START
    if is_once_more and record.exists():
        undo(root, record.read_text(encoding="ascii"), accept=True, tell=tell)
    write_atomic(record, _next_name(root).encode())


def begin(root: Path | None) -> None:
    """Begin a new part, before a computation starts."""
    if root is None:
        return
    for name in (HOLD, SHUT):
        (root / name).unlink(missing_ok=True)
    make_ready(root)
    (root / GATE).touch(mode=0o600)
    (root / BOOT).write_text("\n".join(_boot()), encoding="utf-8")
    (root / NEXT).replace(root / NOW)
    for void in root.glob(f"*{_VOID}"):
        remove_tree(void)


def _boot() -> tuple[str, str]:
    return platform.node(), Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _has_gone_down(root: Path) -> bool:
    """Whether this machine is the one that wrote the last part, and was started since: it kept some in its memory."""
    with suppress(OSError, ValueError):
        host, boot_id = (root / BOOT).read_text(encoding="utf-8").split("\n")
        return host == _boot()[0] and boot_id != _boot()[1]
    return False


def make_ready(root: Path) -> str:
    """Make the part that the next checkpoint begins, and return its name."""
    make_private_dir(root)
    name = _next_name(root)
    make_private_dir(root / name)
    reset_lost(root / name)
    (root / NEXT).unlink(missing_ok=True)
    (root / NEXT).symlink_to(name)
    return name


@contextmanager
def closed_gate(root: Path | None, *, for_last: bool) -> Iterator[None]:
    """Let nobody be between a note and what it is of.

    Raises CheckpointFailedError where somebody does not come out in time, unless it is FOR the LAST checkpoint.
    """
    if root is None:
        yield
        return
    try:
        (root / SHUT).touch(mode=0o600)
        with (root / GATE).open("rb") as gate:
            _lock(gate, for_last=for_last)
            yield
    finally:
        (root / SHUT).unlink(missing_ok=True)


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


def has_begun(root: Path, name: str) -> bool:
    """Whether the part NAME is written to: with no process that notes anything it never is."""
    with suppress(OSError):
        return os.readlink(root / NOW) == name
    return False


def forget(root: Path, before: str) -> None:
    """Remove the parts BEFORE the one of that name: no generation needs them any more."""
    for number in _parts(root):
        if number < int(before):
            remember_appended(root, root / f"{number:06}")
            remove_tree(root / f"{number:06}")


def undo(root: Path, since: str, *, accept: bool, tell: Callable[[str], None]) -> None:
    """Make the files what they were when the part SINCE began, and TELL what was set aside or cut.

    With ACCEPT what cannot be undone stays as it is. Raises RestartFailedError with the first file that cannot be; then
    none has been touched.
    """
    if not (root / since).is_dir():
        _tell_or_raise(["its files went back to an earlier generation since then"], accept=accept, tell=tell)
        return
    folders = [root / f"{number:06}" for number in _parts(root) if number >= int(since)]
    lists = {folder: read_notes(folder) for folder in folders}
    lost = [problem for folder in folders for problem in lost_in(folder)]
    notes = [note for folder in folders for note in lists[folder]]
    others = shared(root, root / since, notes)
    problems = [*lost, *problems_of(notes), *others.values()]
    _tell_or_raise(problems, accept=accept, tell=tell)
    aside = Aside(root.parent / _SET_ASIDE)
    for folder in reversed(folders):
        undo_part(folder, [note for note in lists[folder] if note.path not in others], aside)
        if folder.name != since:
            folder.rename(folder.with_name(folder.name + _VOID))
    aside.close()
    for path in aside.left:
        tell(f"{path}, which the program made since then, stays: there are files of others in it")
    if aside.count:
        files = "file" if aside.count == 1 else "files"
        tell(
            f"{aside.count} {files} changed since then went back to what they were; what they held is in {aside.folder}"
        )


def _next_name(root: Path) -> str:
    used = [int(path.name.removesuffix(_VOID)) for path in root.iterdir() if path.name[:1].isdecimal()]
    return f"{max([0, *used]) + 1:06}"


def _tell_or_raise(problems: Sequence[str], *, accept: bool, tell: Callable[[str], None]) -> None:
    if problems and not accept:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RestartFailedError(f"{problems[0]}{more}; {ACCEPT}")
    for problem in problems:
        tell(f"{problem}: left as it is")


def _parts(root: Path) -> list[int]:
    if not root.is_dir():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())
