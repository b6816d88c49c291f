"""The files that a program only reads: whether they are what they were when its image was taken.

An image knows of such a file that it was open, and where. What the program has read of it is in its memory; the rest
comes from the file as it is after the restart. A script that a shell is in the middle of is such a file, and an
executable under an engine whose images refer to it. Written for CRIU inside the computation's namespaces, so this
module uses the standard library alone.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WHOLE_BYTES = 1 << 20
"""Of larger files only the first and the last half of so much is compared."""
_MOST_COMPARED_BYTES = 16 << 20
"""So much is read at one checkpoint, for which the program waits; of further files only size and time are recorded."""
NOT_ON_DISK = ("/dev/", "/proc/", "/sys/", "/SYSV", "/memfd:", "/dmtcp")


class InputFile(NamedTuple):
    """A regular file that was open for reading alone, or mapped for it."""

    path: str
    size: int
    device: int
    inode: int
    changed_ns: int
    """The time of its last change, in nanoseconds since the epoch."""
    content: str = ""
    """A hash of its content, or of the two ends of a larger file; empty if it was not taken."""
    is_mapped: bool = False
    """Whether the program has it mapped."""
    is_executed: bool = False
    """Whether it is mapped as code, of which the image has no copy."""
    is_open: bool = False
    """Whether the program has a descriptor of it, with a position."""

    @property
    def is_large(self) -> bool:
        """Whether only its ends are compared."""
        return self.size > _WHOLE_BYTES


class Change(NamedTuple):
    """An input that is not what it was, as a sentence."""

    text: str
    matters: bool
    """Whether the program would go wrong; otherwise the file may be made to change, or may not have changed at all."""
    can_be_accepted: bool
    """Whether a resume is possible all the same."""


class Found:
    """The inputs found so far, each once."""

    def __init__(self) -> None:
        self._by_inode: dict[tuple[int, int], InputFile] = {}
        self._left_bytes = _MOST_COMPARED_BYTES

    def add(self, place: str, path: str, *, is_mapped: bool = False, is_executed: bool = False) -> None:
        """Add the file at PLACE, a link in /proc or its PATH, unless it is no regular file on a disk."""
        if path.startswith(NOT_ON_DISK) or not path.startswith("/"):
            return
        with suppress(OSError):
            found = Path(place).stat()
            # one that has lost its name is restored by the engine
            if not stat.S_ISREG(found.st_mode) or not os.path.lexists(path):
                return
            key = (found.st_dev, found.st_ino)
            file = self._by_inode.get(key) or self._described(place, path, found)
            self._by_inode[key] = file._replace(
                is_mapped=file.is_mapped or is_mapped,
                is_executed=file.is_executed or is_executed,
                is_open=file.is_open or not is_mapped,
            )

    def but(self, written: Iterable[tuple[int, int]]) -> list[InputFile]:
        """Return them without those that the program writes to, by device and inode."""
        known = set(written)
        return [file for key, file in self._by_inode.items() if key not in known]

    def _described(self, place: str, path: str, found: os.stat_result) -> InputFile:
        content, compared = "", min(found.st_size, _WHOLE_BYTES)
        if compared <= self._left_bytes:
            self._left_bytes -= compared
            content = _content_of(place, found.st_size)
        return InputFile(
            path=path,
            size=found.st_size,
            device=found.st_dev,
            inode=found.st_ino,
            changed_ns=found.st_mtime_ns,
            content=content,
        )


def changes(files: Iterable[InputFile], *, needs_same_size: bool = False) -> Iterator[Change]:
    """Yield which of FILES are not what they were.

    One that has only grown is, up to its former end, unless the engine NEEDS the SAME SIZE.
    """
    for file in files:
        use = ", which the program runs," if file.is_executed else ", which the program was reading,"
        what = f"{file.path}{use}"
        try:
            found = Path(file.path).stat()
        except OSError as error:
            yield Change(f"{what} is gone ({error.strerror})", matters=True, can_be_accepted=False)
            continue
        is_mine = file.is_executed or (found.st_uid == os.geteuid() and not file.is_mapped)
        if (found.st_size, found.st_mtime_ns) == (file.size, file.changed_ns):
            continue
        is_fixed = file.is_executed or needs_same_size
        if found.st_size < file.size or (is_fixed and found.st_size != file.size):
            text = f"{what} had {file.size} bytes and now has {found.st_size}"
            yield Change(text, matters=is_mine, can_be_accepted=not is_fixed)
        elif file.content and _read_again(file) != file.content:
            yield Change(f"{what} has changed since then", matters=is_mine, can_be_accepted=not file.is_executed)
        elif file.is_large and found.st_size == file.size and not file.is_executed:
            text = f"{what} was written to since then, or replaced by one of the same size"
            yield Change(text, matters=False, can_be_accepted=True)


def _read_again(file: InputFile) -> str:
    try:
        return _content_of(file.path, file.size)
    except OSError:
        return ""


def _content_of(place: str, size: int) -> str:
    """Return a hash of the first SIZE bytes of the file at PLACE, or of both ends of them."""
    import hashlib  # noqa: PLC0415 - a few ms, for which most computations need not be frozen

    half = _WHOLE_BYTES // 2
    parts = [(0, size)] if size <= _WHOLE_BYTES else [(0, half), (size - half, half)]
    # a FIFO in its place would wait for a writer
    fd = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return hashlib.sha256(b"".join(os.pread(fd, length, start) for start, length in parts)).hexdigest()
    finally:
        os.close(fd)
