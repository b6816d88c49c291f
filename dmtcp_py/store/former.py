"""Which blocks of an image the sealed generation before has already.

Images keep their layout from one checkpoint to the next, so a block is looked for where it was, and within a window
around that: the time is in proportion to the size, and the memory is small.
"""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.store.sealed import BLOCK_BYTES, HASH_BYTES, OWN, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dmtcp_py.store.sealed import Sealed

_READ_BLOCKS = 256
_WINDOW = 16384
_NONE = 0xFFFFFFFF
_NOWHERE = -1


class Former:
    """The blocks of image NAME in the sealed generation BEFORE: their hashes, and where they are."""

    def __init__(self, before: Sealed, name: str) -> None:
        parts: list[bytes] = []
        self.packs, self.blocks = array("I"), array("I")
        image = before.images.get(name)
        for pack, first, count in runs_of(image) if image is not None else ():
            parts.append(before.pack(pack).index.hashes[first * HASH_BYTES : (first + count) * HASH_BYTES])
            self.packs.extend([pack] * count)
            self.blocks.extend(range(first, first + count))
        self.hashes = b"".join(parts)


class Matches:
    """Where the blocks with HASHES are found in FORMER, if they are."""

    def __init__(self, hashes: bytes, former: Former | None) -> None:
        self.hashes = hashes
        count = len(hashes) // HASH_BYTES
        self._packs = array("I", [_NONE]) * count
        self._blocks = array("I", [0]) * count
        self.used: dict[int, int] = {}
        """How many blocks are found in each pack."""
        if former is not None and former.hashes:
            self._find(former)

    def runs(self, numbers: Mapping[int, int]) -> Iterator[tuple[int, int, int, int]]:
        """Yield pieces of the image: first block, how many, pack and first block there; NUMBERS are those to name.

        What is in another pack, or in none, is `OWN`.
        """
        begin, pack, block = 0, OWN, 0
        for at, (found, where) in enumerate(zip(self._packs, self._blocks, strict=True)):
            number = numbers.get(found, OWN)
            if number != pack or (number != OWN and where != block + at - begin):
                if at > begin:
                    yield begin, at - begin, pack, block
                begin, pack, block = at, number, where
        if len(self._packs) > begin:
            yield begin, len(self._packs) - begin, pack, block

    def _find(self, former: Former) -> None:
        count, step = len(self._packs), HASH_BYTES
        mine, theirs = self.hashes, former.hashes
        shift = 0
        for first in range(0, count, _WINDOW):
            window: dict[bytes, int] | None = None
            for at in range(first, min(first + _WINDOW, count)):
                digest = mine[at * step : (at + 1) * step]
                there = at + shift
                if there < 0 or theirs[there * step : (there + 1) * step] != digest:
                    if window is None:
                        window = _window(theirs, first + shift)
                    there = window.get(digest, _NOWHERE)
                    if there == _NOWHERE:
                        continue
                    shift = there - at
                pack = former.packs[there]
                self._packs[at], self._blocks[at] = pack, former.blocks[there]
                self.used[pack] = self.used.get(pack, 0) + 1


def _window(hashes: bytes, middle: int) -> dict[bytes, int]:
    """Return the HASHES of the blocks around those from MIDDLE on, with their numbers."""
    count = len(hashes) // HASH_BYTES
    numbers = range(max(middle - _WINDOW, 0), min(middle + 2 * _WINDOW, count))
    return {hashes[one * HASH_BYTES : (one + 1) * HASH_BYTES]: one for one in numbers}


def hashes_of(path: Path) -> tuple[bytes, str]:
    """Return the hash of each block of the file at PATH, of which the last is filled with zeros, and of all in hex."""
    found, whole, digest = bytearray(), xxhash.xxh3_128(), xxhash.xxh3_128_digest
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=_READ_BLOCKS * BLOCK_BYTES) as file:
        while data := file.read(_READ_BLOCKS * BLOCK_BYTES):
            whole.update(data)
            padded = data + bytes(-len(data) % BLOCK_BYTES)
            view = memoryview(padded)
            for at in range(0, len(view), BLOCK_BYTES):
                found += digest(view[at : at + BLOCK_BYTES])
    return bytes(found), whole.hexdigest()
