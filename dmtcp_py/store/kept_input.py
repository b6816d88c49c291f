"""What a program has read from a pipe on its standard input, kept for resumes in the job's folder.

The input is cut into segments, which end at checkpoints. A line in ``segments`` describes each, for as long as the
lineage lasts: that is how input that is delivered once more is compared with what came before. The content of a
segment is in a file named after its first byte, until no generation needs it any more.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import xxhash

from dmtcp_py.store.verify import hash_file
from dmtcp_py.system.files import PRIVATE_FILE, append_lines, fsync_path, make_private_dir, remove_tree, write_atomic
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_BYTES = 1 << 30
"""How much content is kept."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the input, by the positions of its first byte and of the byte after it: a line of ``segments``."""

    start: int
    end: int
    xxh3_128: str
    is_last: bool = False
    """Whether the input ended there."""


class _Open(msgspec.Struct):
    """The segment that grows. The file is None if its content is not kept."""

    start: int
    end: int
    hash: xxhash.xxh3_128
    file: int | None


class KeptInput:
    """The input in FOLDER; WARN is called with the reason if content cannot be kept, of which there is MOST at most."""

    def __init__(self, folder: Path, warn: Callable[[str], None], most: int = MOST_BYTES) -> None:
        self._folder, self._warn, self._most = folder, warn, most
        self._segments = _read_segments(folder / "segments")
        self._sizes = {one.start: one.end - one.start for one in self._segments if self._path(one.start).exists()}
        self._open: _Open | None = None
        self._has_warned = False

    @property
    def end(self) -> int:
        """How many bytes the program has read."""
        return self._open.end if self._open else self._closed_end

    @property
    def is_complete(self) -> bool:
        """Whether the input has ended there."""
        return bool(self._segments) and self._segments[-1].is_last

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The closed segments."""
        return tuple(self._segments)

    def clear(self) -> None:
        """Forget all of it."""
        self.close()
        remove_tree(self._folder)
        self._segments, self._sizes, self._has_warned = [], {}, False

    def recover(self, *, is_trusted: bool) -> None:
        """Close the segment that a killed attempt left open; unless it IS TRUSTED, its content is forgotten."""
        start = self._closed_end
        path = self._path(start)
        if self.is_complete or not path.exists():
            return
        if not is_trusted or not (size := path.stat().st_size):
            path.unlink()
            return
        self._sizes[start] = size
        self._add(Segment(start=start, end=start + size, xxh3_128=hash_file(path)))

    def append(self, data: bytes) -> None:
        """Add DATA, which the program has read."""
        if self._open is None:
            self._open = self._begin()
        growing = self._open
        growing.hash.update(data)
        growing.end += len(data)
        if growing.file is not None:
            try:
                _write_all(growing.file, data)
            except OSError as error:
                self._drop(f"it cannot be written to {self._folder}: {error.strerror}")
                return
            self._sizes[growing.start] = growing.end - growing.start
            if sum(self._sizes.values()) > self._most:
                self._drop(f"more than {format_size(self._most)} came since the oldest generation")

    def close_segment(self, *, is_last: bool = False) -> None:
        """End the segment and have it on disk. Raises OSError."""
        growing, end = self._open, self.end
        if growing is None and not is_last:
            return
        if growing is not None and growing.file is not None:
            os.fsync(growing.file)
        digest = growing.hash if growing is not None else xxhash.xxh3_128()
        start = growing.start if growing is not None else end
        self.close()
        self._add(Segment(start=start, end=end, xxh3_128=digest.hexdigest(), is_last=is_last))

    def close(self) -> None:
        """Close the file of the segment that grows; its content stays."""
        if self._open is not None and self._open.file is not None:
            os.close(self._open.file)
        self._open = None

    def read(self, position: int, most: int) -> bytes:
        """Return MOST bytes at most from POSITION on; none if their content is not there."""
        for start, end in self._bounds():
            if start <= position < end and start in self._sizes:
                with suppress(OSError), self._path(start).open("rb") as file:
                    file.seek(position - start)
                    return file.read(min(most, end - position))
        return b""

    def content_end(self, position: int) -> int:
        """Return up to where the content is there and undamaged from POSITION on without a gap."""
        for segment in self._segments:
            if segment.start <= position < segment.end and self._is_intact(segment):
                position = segment.end
        if self._open is not None and self._open.start == position and self._open.file is not None:
            return self._open.end
        return position

    def cut(self, position: int) -> bool:
        """Forget that there was input from POSITION on; return False if that is within a segment."""
        kept = [segment for segment in self._segments if segment.end <= position]
        if (kept[-1].end if kept else 0) != position:
            return False
        for segment in self._segments[len(kept) :]:
            self._remove(segment.start)
        self._segments = kept
        write_atomic(self._folder / "segments", b"".join(msgspec.json.encode(one) + b"\n" for one in kept))
        return True

    def forget_before(self, position: int) -> None:
        """Remove the content that only a resume before POSITION needs."""
        for segment in self._segments:
            if segment.end <= position:
                self._remove(segment.start)

    @property
    def _closed_end(self) -> int:
        return self._segments[-1].end if self._segments else 0

    def _bounds(self) -> list[tuple[int, int]]:
        found = [(segment.start, segment.end) for segment in self._segments]
        return [*found, (self._open.start, self._open.end)] if self._open else found

    def _begin(self) -> _Open:
        start, file = self._closed_end, None
        try:
            make_private_dir(self._folder.parent)
            make_private_dir(self._folder)
            if sum(self._sizes.values()) < self._most:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.open(self._path(start), flags, PRIVATE_FILE)
        except OSError as error:
            self._warn_once(f"it cannot be written to {self._folder}: {error.strerror}")
        return _Open(start=start, end=start, hash=xxhash.xxh3_128(), file=file)

    def _add(self, segment: Segment) -> None:
        append_lines(self._folder / "segments", [msgspec.json.encode(segment)])
        fsync_path(self._folder)
        self._segments.append(segment)

    def _drop(self, reason: str) -> None:
        """Keep no content of the segment that grows."""
        if self._open is not None and self._open.file is not None:
            os.close(self._open.file)
            self._open.file = None
            self._remove(self._open.start)
        self._warn_once(reason)

    def _warn_once(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(reason)

    def _remove(self, start: int) -> None:
        if start in self._sizes:
            with suppress(OSError):
                self._path(start).unlink(missing_ok=True)
            del self._sizes[start]

    def _is_intact(self, segment: Segment) -> bool:
        try:
            return hash_file(self._path(segment.start)) == segment.xxh3_128
        except OSError:
            return False

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:020}"


class Comparison:
    """Compares the beginning of an input, as it comes, with what is KEPT of the input of an earlier attempt."""

    def __init__(self, kept: KeptInput) -> None:
        self._kept = kept
        self._hash = xxhash.xxh3_128()
        self.position = 0
        """Up to where both are the same."""

    def add(self, data: bytes) -> bool:
        """Compare DATA, which comes next and does not reach beyond what is kept; return whether it is the same."""
        before = self.position
        if self._is_same(data):
            return True
        self.position = before
        return False

    def _is_same(self, data: bytes) -> bool:
        while data:
            segment = next(one for one in self._kept.segments if one.start <= self.position < one.end)
            part, data = data[: segment.end - self.position], data[segment.end - self.position :]
            before = self._kept.read(self.position, len(part))
            if before and before != part:
                return False
            self._hash.update(part)
            self.position += len(part)
            if self.position == segment.end:
                if self._hash.hexdigest() != segment.xxh3_128:
                    return False
                self._hash = xxhash.xxh3_128()
        return True


def _read_segments(path: Path) -> list[Segment]:
    """Return the segments in file PATH, as far as one follows the other."""
    found: list[Segment] = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(msgspec.DecodeError):
                segment = msgspec.json.decode(line, type=Segment)
                if segment.start == (found[-1].end if found else 0):
                    found.append(segment)
    return found


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
