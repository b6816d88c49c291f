"""Joining parts of the journal with which no generation begins any more, so that it does not grow for ever.

A generation that is kept for long, as the one from which the last restart succeeded, needs all parts since. Of those in
between, the later ones add little: the first entry of a name or of a content decides, as it is undone last. So each is
joined to the part before: what that does not know yet is appended to it, as if no new part had begun. Parts in which
folders were moved, or files had several names, stay as they are: there the first entry of a name does not decide alone.

While that is done, ``joined`` in the part that grows has the number of the other, and the size that the list had: a
join that was interrupted is taken back by `settle`, or was done. No entry is ever in two parts that count.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from dmtcp_py.rollback import ranges
from dmtcp_py.rollback.journal import FIELDS, NO_COPY, carry_lost
from dmtcp_py.rollback.list_lines import LIST, append, cut, read_lines
from dmtcp_py.rollback.parts import VOID, numbers_of
from dmtcp_py.system.files import fsync_path, remove_tree, write_atomic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from dmtcp_py.rollback.ranges import Range

JOINED = "joined"
_LEAST_PARTS = 8
"""So many parts in between are left alone: to join them costs reading the list of the part before."""
_MOST_LIST_BYTES = 64 << 20
_NONE = b"0" * 16
"""The key of an entry that has none."""


class _Entry(NamedTuple):
    """One entry, by its fields as they are written."""

    name: bytes
    content: bytes
    kind: bytes
    size: bytes
    mtime: bytes
    mode: bytes
    inode: bytes
    device: bytes
    copy: bytes
    path: bytes

    @property
    def file(self) -> tuple[bytes, bytes]:
        """Which file it tells of."""
        return self.device, self.inode

    @property
    def has_content(self) -> bool:
        """Whether the whole content of the file is recorded by it, and not only its size."""
        return self.content != _NONE and (self.kind == b"F" or (self.kind == b"A" and self.size == b"0"))

    @property
    def is_plain(self) -> bool:
        """Whether it tells of a name and of the file that has it alone, and no folder above was moved."""
        if self.kind in (b"L", b"M"):
            return False
        return self.kind != b"F" or (self.name != _NONE and (self.content != _NONE or not self.is_regular))

    @property
    def is_regular(self) -> bool:
        """Whether it tells of a regular file."""
        return stat.S_ISREG(int(self.mode, 8))


class _Known(Struct):
    """What a part records."""

    names: set[bytes] = field(default_factory=set)
    contents: set[bytes] = field(default_factory=set)
    files: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Those whose whole content is recorded."""
    seen: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Those of which anything is: they were there when the part began."""
    ranges: dict[tuple[bytes, bytes], list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, entry: _Entry, folder: Path) -> None:
        """Add what ENTRY of the part FOLDER records."""
        self.names |= {entry.name} - {_NONE}
        self.contents |= {entry.content} - {_NONE}
        self.seen.add(entry.file)
        if entry.has_content:
            self.files.add(entry.file)
        if entry.kind == b"R" and (old := ranges.parsed(os.fsdecode(entry.copy), folder)) is not None:
            self.ranges.setdefault(entry.file, []).append((old.start, old.start + old.size))

    def covers(self, entry: _Entry) -> bool:
        """Whether ENTRY, which tells of no range, would not have been written had no new part begun.

        What had a name first decides. The content of the file that has it now is known too, unless nothing is known of
        that file: then it was made meanwhile.
        """
        is_known = entry.content in self.contents or (entry.kind == b"A" and entry.file in self.files)
        if entry.name == _NONE:
            return is_known
        return entry.name in self.names and (entry.content == _NONE or is_known or entry.file not in self.seen)

    def missing(self, entry: _Entry, old: Range) -> list[tuple[int, int]]:
        """Return what of the range OLD, of which ENTRY tells, is not recorded."""
        left = [] if entry.file in self.files else [(old.start, old.start + old.size)]
        for start, end in self.ranges.get(entry.file, []):
            left = [piece for one in left for piece in _without(one, start, end)]
        return left


def join_unneeded(root: Path, needed: Collection[str]) -> None:
    """Join each part that lies between two NEEDED ones to the part before, once there are enough.

    What cannot be joined, because it is damaged or there is no room, stays as it is. Call it while no rollback runs.
    """
    with suppress(OSError):
        settle(root)
        starts = {int(part) for part in needed}
        for run in _runs(root, starts):
            if len(run) > _LEAST_PARTS:
                _join_run([root / f"{number:06}" for number in run])


def settle(root: Path) -> None:
    """Take back a join that was interrupted, unless it was done. Raises OSError."""
    for marker in root.glob(f"[0-9]*/{JOINED}"):
        number, size = marker.read_text(encoding="ascii").split()
        if (root / number).is_dir():
            cut(marker.parent, int(size))
            with suppress(FileNotFoundError):
                fsync_path(marker.parent / LIST)
        marker.unlink()


def _runs(root: Path, starts: set[int]) -> Iterator[list[int]]:
    """Yield each needed part with those after it that are not, up to the next needed one."""
    run: list[int] = []
    for number in numbers_of(root):
        if number in starts:
            if run:
                yield run
            run = [number]
        elif run:
            run.append(number)


def _join_run(folders: list[Path]) -> None:
    """Join FOLDERS to the first, or to as few as their size allows."""
    first, known = folders[0], _known_of(folders[0])
    for other in folders[1:]:
        if known is None or _list_size(first) > _MOST_LIST_BYTES or not _join(first, known, other):
            first, known = other, _known_of(other)


def _join(first: Path, known: _Known, other: Path) -> bool:
    """Join the part OTHER to FIRST, which is KNOWN; return False if it cannot be."""
    if (found := _plain_entries(other)) is None:
        return False
    write_atomic(first / JOINED, f"{other.name} {_list_size(first)}".encode())
    entries: list[bytes] = []
    for entry in found:
        for kept in _kept(entry, known, first, other):
            known.add(kept, first)
            entries.append(b"\t".join(kept))
    fsync_path(first)
    append(first, entries)
    carry_lost(other, first)
    void = other.with_name(other.name + VOID)
    other.rename(void)
    fsync_path(first.parent)
    (first / JOINED).unlink()
    remove_tree(void)
    return True


def _kept(entry: _Entry, known: _Known, first: Path, other: Path) -> Iterator[_Entry]:
    """Yield what of ENTRY of the part OTHER has to be in FIRST, and have there what it refers to."""
    if entry.kind == b"R":
        old = ranges.parsed(os.fsdecode(entry.copy), other)
        if old is not None:
            for start, end in known.missing(entry, old):
                yield entry._replace(copy=ranges.keep_part(old, start, end, first).encode())
    elif not known.covers(entry):
        yield entry._replace(copy=_linked(entry.copy, first, other))


def _linked(copy: bytes, first: Path, other: Path) -> bytes:
    """Have the file COPY of the part OTHER in FIRST too, and return its name there."""
    if copy == NO_COPY.encode():
        return copy
    name = os.fsdecode(copy)
    new = first / f"{other.name}-{name}"
    with suppress(FileExistsError):
        os.link(other / name, new, follow_symlinks=False)
    return os.fsencode(new.name)


def _known_of(folder: Path) -> _Known | None:
    """Return what the part FOLDER records; None if nothing can be joined to it."""
    if (entries := _plain_entries(folder)) is None:
        return None
    known = _Known()
    for entry in entries:
        known.add(entry, folder)
    return known


def _plain_entries(folder: Path) -> list[_Entry] | None:
    """Return the entries of the part FOLDER; None if it is damaged, or not all are plain."""
    lines = read_lines(folder)
    entries = [_Entry._make(line.split(b"\t", FIELDS - 1)) for _, line in lines.entries]
    is_plain = not lines.is_damaged and not lines.is_short and all(entry.is_plain for entry in entries)
    return entries if is_plain else None


def _list_size(folder: Path) -> int:
    with suppress(FileNotFoundError):
        return (folder / LIST).stat().st_size
    return 0


def _without(piece: tuple[int, int], start: int, end: int) -> list[tuple[int, int]]:
    """Return what is left of PIECE without what lies from START to END."""
    left = [(piece[0], min(piece[1], start)), (max(piece[0], end), piece[1])]
    return [(one, other) for one, other in left if one < other]
