"""What a program did to files by their names since a checkpoint, and how it is undone before a resume.

`native/files.c` writes it down, in parts: a new one begins at each checkpoint, while all processes are suspended, and
with each computation. A generation remembers which part began with it; to go back to it, that part and all later ones
are undone, last line first. Nothing is changed unless everything can be undone, and nothing is deleted: what is taken
away is set aside in the job's folder.

A line is ``hash kind size mtime-ns mode inode device copy path``, with tabs between and a NUL at its end. Kinds: C, it
was not there; A, it was only appended to, and had this size; F, it had the content of the copy, a file in the part
(``-``: there is none); D, it was a folder; M, a folder was moved (path, newline, new path); X, more than
could be noted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import RestartFailedError
from dmtcp_py.files import make_private_dir, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dmtcp_py.engine import Restart

KEY = "undo"
"""Under it a generation's data of its engine name the part that began with it."""
VARIABLE = "DMTCP_RUN_UNDO"
"""Leads what is loaded into the program to the notes, where its engine does not."""
NOW, NEXT, HOLD, GATE = "now", "next", "hold", "gate"
_START = "start"
"""A link to the part with which the program began, as long as there is no generation to go back to."""
_GATE_S = 2.0
_LOOK_S = 0.01
_LIST = "list"
_FIELDS = 9
_NO_COPY = "-"
_SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - the engines' own business
_SET_ASIDE = "set-aside"
ACCEPT = "--accept-changed-files goes on all the same"


@dataclass(frozen=True)
class Note:
    """One line, and the FOLDER of its part."""

    folder: Path
    kind: str
    size: int
    mtime_ns: int
    mode: int
    inode: tuple[int, int]
    copy: Path | None
    path: Path
    moved_to: Path | None = None


def go_back(restart: Restart) -> None:
    """Undo what was done since the generation of RESTART, and begin a new part; see `undo` for the errors."""
    manifest = restart.manifest
    if restart.undo is not None and KEY in manifest.engine_data and not manifest.program_stopped:
        undo(restart.undo, manifest.engine_data[KEY], accept=restart.accepts_changed, tell=restart.tell)
    begin(restart.undo)


def start(root: Path, *, is_once_more: bool, tell: Callable[[str], None]) -> None:
    """Prepare for a program's start from its beginning.

    Where it IS_ONCE_MORE, as nothing was committed of the start before, undo what can be undone of what it did then,
    and TELL the rest.
    """
    make_private_dir(root)
    link = root / _START
    if is_once_more and link.is_symlink():
        undo(root, os.readlink(link), accept=True, tell=tell)
    link.unlink(missing_ok=True)
    link.symlink_to(_next_name(root))


def begin(root: Path | None) -> None:
    """Begin a new part, before a computation starts."""
    if root is None:
        return
    (root / HOLD).unlink(missing_ok=True)
    make_ready(root)
    (root / GATE).touch(mode=0o600)
    (root / NEXT).replace(root / NOW)


def make_ready(root: Path) -> str:
    """Make the part that the next checkpoint begins, and return its name."""
    make_private_dir(root)
    name = _next_name(root)
    make_private_dir(root / name)
    (root / NEXT).unlink(missing_ok=True)
    (root / NEXT).symlink_to(name)
    return name


@contextmanager
def closed_gate(root: Path | None) -> Iterator[None]:
    """Let nobody be between a note and what it is of; whoever does not come out in time stays there."""
    if root is None:
        yield
        return
    with (root / GATE).open("rb") as gate:
        until = time.monotonic() + _GATE_S
        while time.monotonic() < until:
            with suppress(BlockingIOError):
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOOK_S)
        yield


def has_begun(root: Path, name: str) -> bool:
    """Whether the part NAME is written to: with no process that notes anything it never is."""
    with suppress(OSError):
        return os.readlink(root / NOW) == name
    return False


def forget(root: Path, before: str) -> None:
    """Remove the parts BEFORE the one of that name: no generation needs them any more."""
    for number in _parts(root):
        if number < int(before):
            remove_tree(root / f"{number:06}")


def undo(root: Path, since: str, *, accept: bool, tell: Callable[[str], None]) -> None:
    """Make the files what they were when the part SINCE began, and TELL what was set aside or cut.

    With ACCEPT what cannot be undone stays as it is. Raises RestartFailedError with the first file that cannot be; then
    none has been touched.
    """
    notes = [note for number in _parts(root) if number >= int(since) for note in _read(root / f"{number:06}")]
    problems = _problems(notes)
    if problems and not accept:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RestartFailedError(f"{problems[0]}{more}; {ACCEPT}")
    for problem in problems:
        tell(f"{problem}: left as it is")
    aside = _Aside(root.parent / _SET_ASIDE)
    for note in reversed(notes):
        try:
            _undo(note, aside)
        except OSError as error:
            raise RestartFailedError(
                f"{note.path} cannot be made what it was: {error.strerror}", "look at its permissions"
            ) from error
    if aside.count:
        files = "file" if aside.count == 1 else "files"
        tell(
            f"{aside.count} {files} changed since then went back to what they were; what they held is in {aside.folder}"
        )


def _next_name(root: Path) -> str:
    return f"{max([0, *_parts(root)]) + 1:06}"


def _parts(root: Path) -> list[int]:
    if not root.is_dir():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())


def _read(folder: Path) -> list[Note]:
    try:
        lines = (folder / _LIST).read_bytes().split(b"\0")[:-1]
    except FileNotFoundError:
        return []
    notes = []
    for line in lines:
        fields = os.fsdecode(line).split("\t", _FIELDS - 1)
        if len(fields) == _FIELDS and fields[1] in set("CAFDMX"):
            _, kind, size, mtime, mode, inode, device, copy, path = fields
            path, _, moved_to = path.partition("\n") if kind == "M" else (path, "", "")
            if path.startswith(_SHARED_MEMORY):
                continue
            notes.append(
                Note(
                    folder=folder,
                    kind=kind,
                    size=int(size),
                    mtime_ns=int(mtime),
                    mode=int(mode, 8),
                    inode=(int(device), int(inode)),
                    copy=None if copy == _NO_COPY else folder / Path(copy).name,
                    path=Path(path),
                    moved_to=Path(moved_to) if moved_to else None,
                )
            )
    return notes


def _problems(notes: Sequence[Note]) -> list[str]:
    """Return what of NOTES cannot be undone, as sentences; the first line of a file decides, later ones build on it."""
    found = []
    first: dict[Path, list[Note]] = {}
    for note in notes:
        if note.kind == "X":
            found.append("the program changed more files than could be noted since then")
        elif note.kind != "M":
            first.setdefault(note.path, []).append(note)
    for path, of_file in first.items():
        problem = _problem(path, of_file)
        if problem:
            found.append(f"{path}, which the program changed since then, {problem}")
    return found


def _problem(path: Path, of_file: Sequence[Note]) -> str | None:
    for note in of_file:
        if note.kind in "CD":
            return None
        if note.kind == "F":
            if note.copy is not None and os.path.lexists(note.copy):
                return _linked_problem(note)
            return None if note is of_file[0] and _is_as_noted(note) else "could not be kept: it was too large to copy"
    # only appended to
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"is gone ({error.strerror})"
    return f"had {of_file[0].size} bytes and now has {size}" if size < of_file[0].size else None


def _linked_problem(note: Note) -> str | None:
    """Return why a copy that is the moved file itself is not what it was: it was written to under another name."""
    if note.copy is None or stat.S_ISLNK(note.mode):
        return None
    found = note.copy.stat()
    is_the_file = (found.st_dev, found.st_ino) == note.inode
    # what grew was open for append when the generation was taken, and is cut
    is_changed = found.st_size < note.size or (found.st_size == note.size and found.st_mtime_ns != note.mtime_ns)
    return "was written to after it was moved" if is_the_file and is_changed else None


def _is_as_noted(note: Note) -> bool:
    with suppress(OSError):
        found = note.path.lstat()
        is_same = (found.st_dev, found.st_ino) == note.inode
        return is_same and (found.st_size, found.st_mtime_ns) == (note.size, note.mtime_ns)
    return False


class _Aside:
    """Where things go that the generation did not have; those of the rollback before make room for these."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def place(self, path: Path) -> Path:
        """Return a free name for what was at PATH."""
        if self.count == 0:
            remove_tree(self.folder)
            make_private_dir(self.folder)
        self.count += 1
        return self.folder / f"{self.count:04}-{path.name}"


def _undo(note: Note, aside: _Aside) -> None:
    if note.kind == "C":
        if os.path.lexists(note.path):
            _move_away(note.path, aside)
    elif note.kind == "A":
        _cut(note, aside)
    elif note.kind == "F" and note.copy is not None and os.path.lexists(note.copy):
        if not _is_as_noted(note):
            _put_back(note, note.copy, aside)
    elif note.kind == "D":
        if not note.path.is_dir():
            _make_folders(note.path.parent)
            note.path.mkdir(stat.S_IMODE(note.mode))
    elif note.kind == "M" and note.moved_to is not None and note.moved_to.is_dir() and not os.path.lexists(note.path):
        note.moved_to.rename(note.path)


def _move_away(path: Path, aside: _Aside) -> None:
    if path.is_dir() and not path.is_symlink():
        with suppress(OSError):
            path.rmdir()
            return
    shutil.move(path, aside.place(path))


def _cut(note: Note, aside: _Aside) -> None:
    """Cut a file that was appended to; what is cut off may be another program's too, so it is kept."""
    try:
        found = note.path.stat()
    except FileNotFoundError:
        return
    if found.st_size > note.size:
        with note.path.open("rb") as source, aside.place(note.path).open("wb") as target:
            source.seek(note.size)
            shutil.copyfileobj(source, target)
        os.truncate(note.path, note.size)
        os.utime(note.path, ns=(found.st_atime_ns, note.mtime_ns))


def _put_back(note: Note, copy: Path, aside: _Aside) -> None:
    """Give a file its old content back: in place where it is still the same one, else as a new one."""
    there = note.path.lstat() if os.path.lexists(note.path) else None
    is_same = there is not None and (there.st_dev, there.st_ino) == note.inode and stat.S_ISREG(there.st_mode)
    if there is not None:
        if is_same:
            shutil.copyfile(note.path, aside.place(note.path))
        else:
            _move_away(note.path, aside)
    _make_folders(note.path.parent)
    if stat.S_ISLNK(note.mode):
        note.path.unlink(missing_ok=True)
        note.path.symlink_to(os.readlink(copy))
        return
    found = copy.stat()
    if not is_same and (found.st_dev, found.st_ino) == note.inode:
        # too large to be copied, and moved away: it is the file itself
        os.link(copy, note.path)
        os.truncate(note.path, note.size)
        return
    shutil.copyfile(copy, note.path)
    if not is_same:
        note.path.chmod(stat.S_IMODE(note.mode))
    os.utime(note.path, ns=(note.mtime_ns, note.mtime_ns))


def _make_folders(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
