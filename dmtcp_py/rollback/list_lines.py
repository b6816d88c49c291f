"""The lines of a part's list: where each begins and ends, and whether all are as they were written.

A line is a NUL, a header, an entry and a NUL. The header ``length:size:check`` with a tab after it has the length of
the entry, the size that the list had before, and the CRC-32 of the part's name, of the header up to the check, and of
the entry. A write that was interrupted left the beginning of a line, which announces nothing that was done. Lines of
older releases have ``length`` and a tab alone. Beside the list, ``size`` has the size of what was written to it.
"""

from __future__ import annotations

import os
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIST = "list"
_SIZE = "size"
_HEADER = rb"(?P<length>[0-9a-f]{5})(?::(?P<size>[0-9a-f]{8}):(?P<check>[0-9a-f]{8}))?\t"
_BEGUN_HEADER = rb"[0-9a-f]{0,5}(:[0-9a-f]{0,8}(:[0-9a-f]{0,8})?)?"


class Lines(NamedTuple):
    """The entries that were written whole, each with the place of its line."""

    entries: list[tuple[int, bytes]]
    is_damaged: bool = False
    """Whether there is something that nobody has written."""
    is_short: bool = False
    """Whether the end is missing, as a machine that goes down may lose it."""


def read_lines(folder: Path) -> Lines:
    """Return what the list in the part FOLDER says."""
    content = b""
    with suppress(FileNotFoundError):
        content = (folder / LIST).read_bytes()
    written = content.rstrip(b"\0")
    is_short = len(content) < _recorded_size(folder) or len(content) > len(written) + 2
    entries: list[tuple[int, bytes]] = []
    is_damaged, was_whole, at = False, True, 0
    while at < len(written):
        end = content.find(b"\0", at + 1)
        line = content[at + 1 : end if end >= 0 else None]
        found = re.match(_HEADER, line)
        is_whole = content[at] == 0 and found is not None and _is_whole(folder, found, line, at)
        if is_whole and found is not None:
            entries.append((at, line[found.end() :]))
        elif content[at] != 0 or not was_whole or not _is_begun(folder, found, line):
            is_damaged = True
        was_whole = is_whole
        at = len(written) if end < 0 else end + is_whole
    return Lines(entries, is_damaged, is_short)


def append(folder: Path, entries: Iterable[bytes]) -> None:
    """Append a line for each of ENTRIES, durably, to the list in the part FOLDER, which no process writes any more."""
    with (folder / LIST).open("ab") as file:
        size = file.tell()
        for entry in entries:
            line = _line(folder, size, entry)
            file.write(line)
            size += len(line)
        file.flush()
        os.fsync(file.fileno())
    record_size(folder, size)


def cut(folder: Path, size: int) -> None:
    """Take from the list in the part FOLDER what comes after SIZE."""
    record_size(folder, size)
    with suppress(FileNotFoundError):
        os.truncate(folder / LIST, size)


def record_size(folder: Path, size: int) -> None:
    """Record that the list in the part FOLDER has SIZE."""
    write_atomic(folder / _SIZE, f"{size:08x}".encode(), durable=False)


def _line(folder: Path, size: int, entry: bytes) -> bytes:
    """Return the line of ENTRY in the list of the part FOLDER, which has SIZE before."""
    begun = b"%05x:%08x:" % (len(entry), size)
    check = zlib.crc32(entry, zlib.crc32(begun, zlib.crc32(folder.name.encode())))
    return b"\0%b%08x\t%b\0" % (begun, check, entry)


def _recorded_size(folder: Path) -> int:
    """Return the size that the list has at least; 0 if an older release began the part."""
    with suppress(FileNotFoundError, ValueError):
        return int((folder / _SIZE).read_bytes(), 16)
    return 0


def _is_whole(folder: Path, header: re.Match[bytes], line: bytes, at: int) -> bool:
    if int(header["length"], 16) != len(line) - header.end():
        return False
    is_old = header["check"] is None
    return is_old or (int(header["size"], 16) <= at and _is_checked(folder, header, line))


def _is_begun(folder: Path, header: re.Match[bytes] | None, line: bytes) -> bool:
    """Whether LINE can be what an interrupted write left."""
    if header is None:
        return re.fullmatch(_BEGUN_HEADER, line) is not None
    is_shorter = len(line) - header.end() < int(header["length"], 16)
    # the length of a line that is whole may be what was changed
    return is_shorter and not _is_checked(folder, header, b"%05x" % (len(line) - header.end()) + line[5:])


def _is_checked(folder: Path, header: re.Match[bytes], line: bytes) -> bool:
    if header["check"] is None:
        return False
    check = zlib.crc32(line[: header.start("check")], zlib.crc32(folder.name.encode()))
    return zlib.crc32(line[header.end() :], check) == int(header["check"], 16)
