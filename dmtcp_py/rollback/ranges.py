"""Ranges of files whose old content is kept in the part of the journal, as ``native/ranges.c`` writes it.

The third field from the end of such an entry is ``start+size@offset``: where the range begins in the file, how long it
is, and where its old content lies in the part's file ``blocks``.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = "blocks"
_RANGE = r"(\d+)\+(\d+)@(\d+)"
_PIECE = 1 << 20


class Range(NamedTuple):
    """A range of a file, and where its old content is kept."""

    start: int
    size: int
    kept_in: Path
    kept_at: int


def parsed(text: str, folder: Path) -> Range | None:
    """Return the range that TEXT describes, which is kept in the part FOLDER; None if it describes none."""
    found = re.fullmatch(_RANGE, text)
    if found is None:
        return None
    start, size, offset = map(int, found.groups())
    return Range(start=start, size=size, kept_in=folder / BLOCKS, kept_at=offset)


def differs(path: Path, old: Range) -> bool:
    """Whether the file at PATH has something else in the range than OLD. Raises OSError if it cannot be read."""
    with path.open("rb") as now, old.kept_in.open("rb") as kept:
        now.seek(old.start)
        kept.seek(old.kept_at)
        return now.read(old.size) != kept.read(old.size)


def put_back(path: Path, old: Range, aside: Path) -> None:
    """Write OLD to its range of the file at PATH, after copying what is there to the same range of the file ASIDE."""
    copy_range(path, old.start, aside, old.start, old.size)
    copy_range(old.kept_in, old.kept_at, path, old.start, old.size)


def keep_part(old: Range, start: int, end: int, folder: Path) -> str:
    """Keep what OLD has from START to END in the part FOLDER too; return the text that describes it there."""
    blocks = folder / BLOCKS
    with blocks.open("ab") as target, old.kept_in.open("rb") as source:
        offset = target.tell()
        source.seek(old.kept_at + start - old.start)
        left = end - start
        while left > 0 and (piece := source.read(min(left, _PIECE))):
            target.write(piece)
            left -= len(piece)
        target.flush()
        os.fsync(target.fileno())
    if left > 0:
        raise OSError(errno.EIO, "it is shorter than it was", str(old.kept_in))
    return f"{start}+{end - start}@{offset}"


def copy_range(source: Path, start: int, target: Path, at: int, size: int) -> None:
    """Copy SIZE bytes, or as many as there are, from START of SOURCE to the place AT of TARGET, which may not exist."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as writer, source.open("rb") as reader:
        reader.seek(start)
        writer.seek(at)
        while size > 0 and (piece := reader.read(min(size, _PIECE))):
            writer.write(piece)
            size -= len(piece)
