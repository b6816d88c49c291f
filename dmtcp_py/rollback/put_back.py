"""Undo one part of the notes on files: make each what it was, and set aside what it held."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError
from dmtcp_py.rollback import objects, ranges
from dmtcp_py.rollback.journal import is_as_noted, reset_lost
from dmtcp_py.rollback.list_lines import LIST, cut
from dmtcp_py.rollback.set_aside import clear, make_folders, mode_of, move_away, take_away

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dmtcp_py.rollback.journal import Entry
    from dmtcp_py.rollback.set_aside import SetAside


def undo_part(folder: Path, notes: Sequence[Entry], aside: SetAside, names: NamesOfFiles) -> None:
    """Undo NOTES, of files with NAMES, and take what is undone from the list.

    What comes before a moved folder must not be undone twice.
    """
    touched: set[Path] = set()
    for note, later in zip(reversed(notes), [None, *reversed(notes)], strict=False):
        if note.kind == "M" and later is not None:
            _settle(folder, touched, later.start)
        with problems_named(note.path):
            _undo(note, aside, names)
        touched |= {note.path, note.path.parent}
        if note.kind == "M":
            _settle(folder, touched, note.start)
    if notes:
        _settle(folder, touched, 0)
    reset_lost(folder)


@contextmanager
def problems_named(path: Path | str) -> Iterator[None]:
    """Raise EngineError for an OSError: the older generations need no less, and the next run can go on with this."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"{path} cannot be made what it was: {error.strerror}",
            "look at its permissions and at the space that is free, and run the same line again",
        ) from error


def _settle(folder: Path, touched: set[Path], size: int) -> None:
    for path in touched:
        # a name may be gone again, and a link or a file that may not be read cannot be opened
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                with problems_named(path):
                    _fsync(fd)
            finally:
                os.close(fd)
    touched.clear()
    with problems_named(folder / LIST):
        cut(folder, size)


def _fsync(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        # pipes have nothing to be written, and some file systems cannot be told to write a directory
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


class NamesOfFiles:
    """By which names the files of NOTES may be found, those of copies included: a file may be kept by a second name."""

    def __init__(self, notes: Sequence[Entry]) -> None:
        self._names: dict[tuple[int, int], set[Path]] = {}
        self._again: dict[tuple[int, int], Path] = {}
        for note in notes:
            if stat.S_ISREG(note.mode):
                self._names.setdefault(note.inode, set()).update(filter(None, (note.path, note.copy, note.linked_to)))

    def found(self, note: Entry) -> Entry:
        """Return NOTE with a name that its file has now, where it tells of the file by whichever name, not of that."""
        if note.has_name or not stat.S_ISREG(note.mode):
            return note
        for path in (note.path, *sorted(self._names.get(note.inode, ()))):
            if _inode(path) == note.inode:
                return note._replace(path=path)
        return note._replace(path=self._again.get(note.inode, note.path))

    def made_again(self, inode: tuple[int, int], path: Path) -> None:
        """Note that PATH is there again for the file INODE, which others of its names may have changed before."""
        self._again[inode] = path


def _undo(note: Entry, aside: SetAside, names: NamesOfFiles) -> None:
    note = names.found(note)
    if objects.is_object(note.path):
        objects.remove(note.path)
    elif note.kind == "C" and os.path.lexists(note.path):
        take_away(note.path, aside)
    elif note.kind == "A":
        _cut(note, aside)
    elif note.kind == "F" and note.copy is not None and os.path.lexists(note.copy):
        _restore(note, note.copy, aside, names)
    elif note.range is not None:
        _restore_range(note, note.range, aside)
    elif note.kind in "DP":
        _make_again(note, aside)
    elif note.kind == "M":
        _move_back(note, aside)
    elif note.linked_to is not None:
        _link_again(note, note.linked_to, aside)


def _restore(note: Entry, copy: Path, aside: SetAside, names: NamesOfFiles) -> None:
    """Give the file of NOTE the content of COPY, and its name unless it had others and has lost this one since."""
    if not is_as_noted(note):
        _put_back(note, copy, aside)
        names.made_again(note.inode, note.path)
    _have_time(note)


def _make_again(note: Entry, aside: SetAside) -> None:
    """Make the folder or the pipe that NOTE tells of, unless it is there."""
    if stat.S_IFMT(mode_of(note.path)) != stat.S_IFMT(note.mode):
        clear(note.path, aside)
        if note.kind == "D":
            note.path.mkdir()
            aside.made.add(note.path)
        else:
            os.mkfifo(note.path)
    _have_mode(note)


def _move_back(note: Entry, aside: SetAside) -> None:
    """Move the folder back that NOTE tells of, if it was moved.

    What has its name was made after that, whether the list tells of it or of an earlier one only. If it was removed,
    it is there again if anything in it is, and otherwise made here.
    """
    moved = note.moved_to
    if moved is not None and moved != note.path and (_inode(moved) == note.inode or moved in aside.made):
        if os.path.lexists(note.path):
            take_away(note.path, aside)
        moved.rename(note.path)
        aside.made = {_moved(path, moved, note.path) for path in aside.made}
    elif not os.path.lexists(note.path):
        make_folders(note.path, aside)
    if _inode(note.path) != note.inode:
        _have_mode(note)


def _moved(path: Path, old: Path, new: Path) -> Path:
    return new / path.relative_to(old) if path.is_relative_to(old) else path


def _inode(path: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        found = path.lstat()
        return found.st_dev, found.st_ino
    return None


def _link_again(note: Entry, other: Path, aside: SetAside) -> None:
    """Let the file at OTHER have the name of NOTE too, as it had."""
    found, there = other.lstat(), note.path.lstat() if os.path.lexists(note.path) else None
    if there is None or (there.st_dev, there.st_ino) != (found.st_dev, found.st_ino):
        clear(note.path, aside)
        os.link(other, note.path, follow_symlinks=False)


def _have_mode(note: Entry) -> None:
    """Let the file of NOTE have the mode that it had, also where the rollback that made it again was killed then."""
    if stat.S_IMODE(mode_of(note.path)) != stat.S_IMODE(note.mode):
        with suppress(PermissionError):
            note.path.chmod(stat.S_IMODE(note.mode))


def _have_time(note: Entry) -> None:
    """Let the regular file of NOTE have the time that it had; not where another user owns it."""
    found = note.path.lstat()
    if stat.S_ISREG(found.st_mode) and found.st_mtime_ns != note.mtime_ns:
        with suppress(PermissionError):
            os.utime(note.path, ns=(found.st_atime_ns, note.mtime_ns))


def _cut(note: Entry, aside: SetAside) -> None:
    """Cut a file that was appended to; what is cut off may be another program's too, so it is kept."""
    if note.size == 0 and not stat.S_ISREG(mode_of(note.path)):
        clear(note.path, aside)
        note.path.touch()
    if note.size == 0:
        _have_mode(note)
    try:
        found = note.path.stat()
    except FileNotFoundError:
        return
    # a folder has the name where the file was made since then: earlier entries tell of the name
    if stat.S_ISREG(found.st_mode) and found.st_size > note.size:
        with note.path.open("rb") as source, aside.place(note.path).open("wb") as target:
            source.seek(note.size)
            shutil.copyfileobj(source, target)
        os.truncate(note.path, note.size)
    _have_time(note)


def _restore_range(note: Entry, old: ranges.Range, aside: SetAside) -> None:
    """Restore what NOTE's range held, if the file is still the one."""
    with suppress(FileNotFoundError):
        found = note.path.lstat()
        if (found.st_dev, found.st_ino) != note.inode:
            return
        if ranges.differs(note.path, old):
            ranges.put_back(note.path, old, aside.place_of_ranges(note.path))
        if found.st_size > note.size:
            os.truncate(note.path, note.size)
        _have_time(note)


def _put_back(note: Entry, copy: Path, aside: SetAside) -> None:
    """Give a file its old content back: in place where it is still the same one, else as a new one."""
    there = note.path.lstat() if os.path.lexists(note.path) else None
    is_same = there is not None and (there.st_dev, there.st_ino) == note.inode and stat.S_ISREG(there.st_mode)
    if there is not None:
        if is_same:
            shutil.copyfile(note.path, aside.place(note.path))
        else:
            move_away(note.path, aside)
    make_folders(note.path.parent, aside)
    if stat.S_ISLNK(note.mode):
        note.path.symlink_to(os.readlink(copy))
        return
    found = copy.stat()
    if (found.st_dev, found.st_ino) == note.inode:
        # too large to be copied, or with a second name, and moved away: it is the file itself
        if not is_same:
            os.link(copy, note.path)
        if found.st_size > note.size:
            os.truncate(note.path, note.size)
        return
    shutil.copyfile(copy, note.path)
    if not is_same:
        note.path.chmod(stat.S_IMODE(note.mode))
