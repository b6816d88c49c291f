"""Comparing what two runs of a program printed and wrote. Only reads files."""

from __future__ import annotations

import filecmp
import hashlib
import os
from pathlib import Path

from msgspec import Struct

MOST_BYTES = 64 << 20
"""So much of an output is compared."""
_MOST_CHARS = 24


class Difference(Struct, frozen=True):
    """The first line in which two outputs differ, counted from 1."""

    line: int
    one: str
    other: str

    @property
    def text(self) -> str:
        """The difference in words."""
        return f"line {self.line}: {self.one!r}, {self.other!r}"


class Printed(Struct, frozen=True):
    """What a program printed from byte START of a file on."""

    start: int
    content: bytes

    @classmethod
    def read(cls, path: Path, start: int = 0) -> Printed:
        """Return what the file at PATH has from START on; nothing if there is no file."""
        try:
            with path.open("rb") as file:
                file.seek(start)
                return cls(start, file.read(MOST_BYTES))
        except FileNotFoundError:
            return cls(start, b"")


def digest(path: Path, size: int) -> str:
    """Return a hash of the first SIZE bytes of the file at PATH, as far as they are compared."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(min(size, MOST_BYTES))).hexdigest()


def difference(one: bytes, other: bytes) -> Difference | None:
    """Return where ONE and OTHER differ as far as both have come; None if they do not."""
    common = min(len(one), len(other))
    if one[:common] == other[:common]:
        return None
    at = _at(one, other)
    begin = one.rfind(b"\n", 0, at) + 1
    return Difference(one.count(b"\n", 0, at) + 1, _line(one, begin), _line(other, begin))


def _at(one: bytes, other: bytes) -> int:
    """Return the first place where ONE and OTHER differ, which they do."""
    low, high = 0, min(len(one), len(other))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle)
    return low


def _line(text: bytes, begin: int) -> str:
    end = text.find(b"\n", begin)
    line = text[begin : len(text) if end < 0 else end].decode(errors="replace")
    return line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]}…"


def different_files(one: Path, other: Path) -> list[str]:
    """Return the files below ONE and OTHER that are not the same in both, or are only in one of them."""
    names = sorted({*_names(one), *_names(other)})
    return [name for name in names if not _is_same(one / name, other / name)]


def _names(folder: Path) -> set[str]:
    found = set()
    for root, folders, names in os.walk(folder):
        found |= {str(Path(root, name).relative_to(folder)) for name in names}
        folders[:] = [name for name in folders if name != "__pycache__"]
    return found


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    if not one.is_file() or not other.is_file():
        return one.exists() == other.exists()
    return filecmp.cmp(one, other, shallow=False)
