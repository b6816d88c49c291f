"""The format of the journal: what a program did to files by name, as ``native/journal.c`` writes it.

An entry, see `dmtcp_py.rollback.list_lines` for the line around it, is ``name-key content-key kind size mtime-ns mode
inode device copy path``, with tabs between. Kinds: C, it was not there; A, it was only appended to,
and had this size; F, it had the content of the copy, a file in the part (``-``: there is none); R, a range of it had
the content that `dmtcp_py.rollback.ranges` finds, and it had at most this size; D, it was a folder; P, it was a pipe;
L, the file has another name (path, newline, that name; the size is the length of the first); M, a folder was moved
(likewise, with its new path).

A part also has ``lost``: who cannot write a line writes the path there, over what was written before, or removes it.
"""

from __future__ import annotations

import filecmp
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.rollback import ranges
from dmtcp_py.rollback.list_lines import read_lines, record_size
from dmtcp_py.system.files import write_atomic
from dmtcp_py.system.proc import SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    FileKey = Path | tuple[int, int]
    Stamp = tuple[int, int] | None

_LOST = "lost"
_LOST_BYTES = 4096
FIELDS = 10
MOST_KEPT_TEXT = "up to 4 GB in all are kept while there is room"
_KINDS = frozenset("CAFRDPLM")
_WITH_TWO_PATHS = "LM"
NO_COPY = "-"


class Entry(NamedTuple):
    """One line, which starts at a byte of its part's list."""

    start: int
    kind: str
    size: int
    mtime_ns: int
    mode: int
    inode: tuple[int, int]
    copy: Path | None
    path: Path
    moved_to: Path | None = None
    linked_to: Path | None = None
    range: ranges.Range | None = None
    has_name: bool = True
    """Whether it also says what had the name, and not only what the file held that had this name and others."""


def read_entries(folder: Path) -> list[Entry]:
    """Return what the list says; a line that was not written whole was followed by nothing that it told of."""
    found = []
    for start, entry in read_lines(folder).entries:
        with suppress(ValueError):
            found += _parsed(folder, start, entry.split(b"\t", FIELDS - 1))
    return found


def _parsed(folder: Path, start: int, fields: list[bytes]) -> list[Entry]:
    name, _, kind, size, mtime, mode, inode, device, copy, path = map(os.fsdecode, fields)
    if kind not in _KINDS:
        return []
    part = ranges.parsed(copy, folder) if kind == "R" else None
    if kind == "R" and part is None:
        return []
    has_two = kind in _WITH_TWO_PATHS
    first = os.fsdecode(fields[-1][: int(size)]) if has_two else path
    second = Path(os.fsdecode(fields[-1][int(size) + 1 :])) if has_two else None
    return [
        Entry(
            start=start,
            kind=kind,
            size=int(size),
            mtime_ns=int(mtime),
            mode=int(mode, 8),
            inode=(int(device), int(inode)),
            copy=None if copy == NO_COPY or part else folder / Path(copy).name,
            path=Path(first),
            moved_to=second if kind == "M" else None,
            linked_to=second if kind == "L" else None,
            range=part,
            has_name=name.strip("0") != "",
        )
    ]


def paths_now(entries: Iterable[Entry], before: Mapping[Path, Stamp] | None = None) -> dict[Path, Stamp]:
    """Return where the files of ENTRIES are now that folders were moved, after those BEFORE, in the order of changes.

    ENTRIES are in the order in which they were made. Files that they tell of have no stamp, the others keep theirs.
    """
    paths = dict(before or {})
    for entry in entries:
        changed = [entry.path]
        if (target := entry.moved_to) is not None:
            below = f"{entry.path}/"
            paths = {
                target / path.relative_to(entry.path) if str(path).startswith(below) else path: stamp
                for path, stamp in paths.items()
            }
            # the folder that it was taken from has changed, too
            changed.append(target)
        for path in changed:
            paths.pop(path, None)
            paths[path] = None
    return paths


def files_of(entries: Iterable[Entry]) -> set[FileKey]:
    """Return the files that ENTRIES tell of, by path and by device and inode."""
    return {key for entry in entries for key in (entry.path, entry.linked_to, entry.inode) if key is not None}


def reset_lost(folder: Path) -> None:
    """Make room in the part FOLDER, whose list is empty, for the name of what cannot be noted."""
    record_size(folder, 0)
    write_atomic(folder / _LOST, bytes(_LOST_BYTES), durable=False)


def carry_lost(source: Path, target: Path) -> None:
    """Have the part TARGET say what the part SOURCE says could not be noted; when it began stays as it is."""
    place = target / _LOST
    try:
        name = (source / _LOST).read_bytes().partition(b"\0")[0]
        found = place.stat()
    except FileNotFoundError:
        place.unlink(missing_ok=True)
        return
    if name and not _lost_name(target):
        with place.open("r+b") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
        os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))


def begun_at(folder: Path) -> float:
    """Return when the part FOLDER began, in seconds since the epoch; 0 where that is not known any more."""
    with suppress(FileNotFoundError):
        return (folder / _LOST).stat().st_mtime
    return 0.0


def lost_in(folder: Path) -> list[str]:
    """Return, as a sentence, that something could not be noted in the part FOLDER, if so."""
    why = f"and what it held before could not be kept: {MOST_KEPT_TEXT}"
    try:
        name = _lost_name(folder)
    except FileNotFoundError:
        return [f"the program changed a file since then, {why}"]
    return [f"{name}, which the program changed since then, {why}"] if name else []


def paths_not_kept(folder: Path) -> list[str]:
    """Return the files that changed in the part FOLDER and whose old content is not kept there."""
    found = {
        str(entry.path)
        for entry in read_entries(folder)
        if entry.kind == "F" and entry.copy is None and not str(entry.path).startswith(SHARED_MEMORY)
    }
    with suppress(FileNotFoundError):
        found |= {_lost_name(folder)} - {""}
    return sorted(found)


def _lost_name(folder: Path) -> str:
    return os.fsdecode((folder / _LOST).read_bytes().partition(b"\0")[0])


def problems_of(notes: Sequence[Entry]) -> list[str]:
    """Return what of NOTES cannot be undone, as sentences; the first line of a file decides, later ones build on it."""
    found = []
    of_path: dict[Path, list[Entry]] = {}
    for note in _of_files_before(notes):
        of_path.setdefault(note.path, []).append(note)
    restored = {note.inode for note in notes if note.kind in "AR" or (note.copy is not None and not _is_linked(note))}
    moves = [note for note in notes if note.kind == "M"]
    for path, of_file in of_path.items():
        if _is_linked_to_nothing(of_file[0], of_path, moves):
            found.append(f"{path}, which the program changed since then, had another name, which is gone")
            continue
        problem = _problem(_found(of_file[0], moves), of_file, restored)
        if problem:
            found.append(f"{path}, which the program changed since then, {problem}")
    return found


def _is_linked_to_nothing(note: Entry, of_path: Mapping[Path, object], moves: Sequence[Entry]) -> bool:
    """Whether the file of NOTE is not at its other name any more, and no entry says why."""
    if note.linked_to is None or note.linked_to in of_path:
        return False
    with suppress(OSError):
        found = _found(note._replace(path=note.linked_to), moves).lstat()
        return (found.st_dev, found.st_ino) != note.inode
    return True


def _of_files_before(notes: Sequence[Entry]) -> Iterator[Entry]:
    """Yield those of NOTES that tell of names, and of files that were there before the first of them."""
    made: set[Path] = set()
    files: set[tuple[int, int]] = set()
    for note in notes:
        if note.kind == "M" and note.moved_to is not None:
            target = note.moved_to
            made = {target / path.relative_to(note.path) if path.is_relative_to(note.path) else path for path in made}
        elif note.kind not in "AFR" or note.path not in made or note.inode in files:
            files.add(note.inode)
            yield note
        if note.kind == "C":
            made.add(note.path)


def _problem(path: Path, of_file: Sequence[Entry], restored: set[tuple[int, int]]) -> str | None:
    for note in of_file:
        if note.kind in "CDPL" or (note.kind == "A" and note.size == 0):
            return None
        if note.kind == "F":
            if note.copy is not None and os.path.lexists(note.copy):
                if not _is_whole(note, note.copy):
                    return f"was kept in {note.copy}, which is damaged"
                is_cured = note.inode in restored or not _is_linked(note) or not _was_written_to(note)
                return None if is_cured else "was written to after it was moved"
            is_same = note is of_file[0] and is_as_noted(note)
            return None if is_same else "could not be kept: it was too large to copy, or there was no room"
    # only appended to, or overwritten where the old content is kept
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"is gone ({error.strerror})"
    kept = max((note.range.start + note.range.size for note in of_file if note.range is not None), default=0)
    # what was cut off is kept up to the end of the last range
    return f"had {of_file[0].size} bytes and now has {size}" if max(size, kept) < of_file[0].size else None


def _is_whole(note: Entry, copy: Path) -> bool:
    """Whether the COPY has as many bytes as the file of NOTE had; the moved file itself may have grown."""
    return not stat.S_ISREG(note.mode) or _is_linked(note) or copy.stat().st_size == note.size


def _found(note: Entry, moves: Sequence[Entry]) -> Path:
    """Return where the file of NOTE is now, as folders may have been moved since."""
    places = [note.path]
    for move in moves:
        if places[-1].is_relative_to(move.path) and move.moved_to is not None:
            places.append(move.moved_to / places[-1].relative_to(move.path))
    for place in reversed(places):
        with suppress(OSError):
            found = place.stat()
            if (found.st_dev, found.st_ino) == note.inode:
                return place
    return note.path


def _is_linked(note: Entry) -> bool:
    """Whether the copy is the moved file itself."""
    if note.copy is None or not stat.S_ISREG(note.mode):
        return False
    found = note.copy.stat()
    return (found.st_dev, found.st_ino) == note.inode


def _was_written_to(note: Entry) -> bool:
    if note.copy is None:
        return False
    found = note.copy.stat()
    # what grew was open for append when the generation was taken, and is cut
    return found.st_size < note.size or (found.st_size == note.size and found.st_mtime_ns != note.mtime_ns)


def is_as_noted(note: Entry) -> bool:
    """Whether the file of NOTE is what it was."""
    with suppress(OSError):
        found = note.path.lstat()
        is_same = (found.st_dev, found.st_ino) == note.inode
        if is_same and note.copy is not None and stat.S_ISREG(note.mode):
            # its time alone may not tell: a clock of files ticks every some milliseconds
            return not _is_linked(note) and filecmp.cmp(note.path, note.copy, shallow=False)
        return is_same and (found.st_size, found.st_mtime_ns) == (note.size, note.mtime_ns)
    return False
