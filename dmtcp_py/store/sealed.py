"""The sealed form of images: compressed, and without the blocks that earlier generations hold already. Reading it.

A pack is a file of frames, each of at most `FRAME_BLOCKS` blocks that are compressed together, an index and a footer.
A sealed generation has one pack of its own, ``sealed``, whose index says of which blocks its images consist. The packs
of earlier generations from which it has blocks are hard links in its own directory, so that it needs no other.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from array import array
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import xxhash
import zstandard

from dmtcp_py.errors import NewerFormatError, StoreError
from dmtcp_py.store.access import access_problem
from dmtcp_py.store.decoding import FORMAT, USE_NEWER
from dmtcp_py.store.layout import SEALED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

BLOCK_BYTES = 4096
"""Memory changes by pages, and images hold pages at multiples of their size."""
FRAME_BLOCKS = 64
HASH_BYTES = 16
THREADS = 2
FOOTER = struct.Struct("<QQ16s8s")
"""Where the index begins, its size and XXH3-128, and `MAGIC`."""
MAGIC = b"dmtcpzs1"
OWN = 0
_AHEAD, _CACHED = 16, 64
"""How many frames are decompressed ahead, and how many are kept: images mostly have them in the order of the pack."""
_RUN = 3


class SealedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image: RUNS are triples of 32-bit numbers: which pack, its first block, how many blocks follow each other."""

    name: str
    size: int
    runs: bytes


class PackIndex(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack holds, and of what the images of its generation consist."""

    format: int = FORMAT
    id: str
    ends: bytes
    """Where each frame ends in the file, as 64-bit numbers."""
    hashes: bytes
    """The XXH3-128 of each block."""
    others: list[str]
    """The ids of the packs that runs name as 1, 2, …; 0 is this one."""
    images: list[SealedImage]

    @property
    def blocks(self) -> int:
        """The number of blocks in the pack."""
        return len(self.hashes) // HASH_BYTES


class Pack:
    """An open pack."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        try:
            self.index = self._index()
            self._ends = array("Q", self.index.ends)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def frame(self, number: int) -> bytes:
        """Return the blocks of frame NUMBER; raise StoreError if they are damaged. Called by several threads."""
        if number >= len(self._ends):
            raise StoreError(f"{self.path} has no frame {number}")
        begin = self._ends[number - 1] if number else 0
        size = min(FRAME_BLOCKS, self.index.blocks - number * FRAME_BLOCKS) * BLOCK_BYTES
        try:
            data = os.pread(self._fd, self._ends[number] - begin, begin)
            # the size that a damaged frame claims may be any
            if zstandard.frame_content_size(data) == size:
                return _decompressor().decompress(data)
            why = "it has another size"
        except (OSError, zstandard.ZstdError) as error:
            why = str(error)
        raise StoreError(f"{self.path} is damaged: frame {number} cannot be read ({why})")

    def _index(self) -> PackIndex:
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{self.path} is not a regular file")
        if problem := access_problem(found):
            raise StoreError(f"{self.path} {problem}")
        try:
            footer = os.pread(self._fd, FOOTER.size, max(found.st_size - FOOTER.size, 0))
            begin, size, digest, magic = FOOTER.unpack(footer)
            data = os.pread(self._fd, size, begin) if begin + size + FOOTER.size == found.st_size else b""
        except (OSError, OverflowError, struct.error) as error:
            raise StoreError(f"{self.path} is damaged: it has no footer") from error
        if magic != MAGIC or xxhash.xxh3_128_digest(data) != digest:
            raise StoreError(f"{self.path} is damaged: its index is not what was written")
        return _checked(decode_index(data, self.path), begin, self.path)


class Sealed:
    """The sealed images of the generation in FOLDER; PACK is its own. `close` has to be called."""

    def __init__(self, folder: Path, pack: Path | None = None) -> None:
        self.folder = folder
        self.own = Pack(folder / SEALED if pack is None else pack)
        self._others: dict[int, Pack] = {}
        self._lock = threading.Lock()
        self.images = {image.name: image for image in self.own.index.images}

    def close(self) -> None:
        """Close all files."""
        for pack in (self.own, *self._others.values()):
            pack.close()

    def pack(self, number: int) -> Pack:
        """Return the pack that runs name by NUMBER; raise StoreError if it is missing or damaged."""
        if number == OWN:
            return self.own
        with self._lock:
            if number not in self._others:
                wanted = self.own.index.others[number - 1]
                pack = Pack(self.folder / linked_name(wanted))
                self._others[number] = pack
                if pack.index.id != wanted:
                    raise StoreError(f"{pack.path} is another pack: {pack.index.id}")
            return self._others[number]

    def content(self, name: str) -> Iterator[memoryview]:
        """Yield the content of image NAME; raise StoreError if one of its blocks is missing or damaged."""
        image = self.images[name]
        left, frames, waiting = image.size, _Frames(self), deque[tuple["Future[bytes]", int, int]]()
        try:
            for number, frame, first, count in _spans(image):
                waiting.append((frames.get(number, frame), first, count))
                if len(waiting) > _AHEAD:
                    part = _part(*waiting.popleft(), left)
                    left -= len(part)
                    yield part
            while waiting:
                part = _part(*waiting.popleft(), left)
                left -= len(part)
                yield part
        finally:
            frames.close()
        if left:
            raise StoreError(f"{self.own.path} is damaged: {left} bytes of {name} are not in it")


class _Frames:
    """Decompresses frames in threads, and keeps the newest ones."""

    def __init__(self, sealed: Sealed) -> None:
        self._sealed = sealed
        self._pool = ThreadPoolExecutor(THREADS)
        self._found: OrderedDict[tuple[int, int], Future[bytes]] = OrderedDict()

    def get(self, number: int, frame: int) -> Future[bytes]:
        key = number, frame
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._pool.submit(self._read, number, frame)
            if len(self._found) > _CACHED:
                self._found.popitem(last=False)
        else:
            self._found.move_to_end(key)
        return found

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _read(self, number: int, frame: int) -> bytes:
        return self._sealed.pack(number).frame(frame)


def linked_name(pack_id: str) -> str:
    """Return the name of the hard link to the pack with PACK_ID."""
    return f"{SEALED}-{pack_id}"


def runs_of(image: SealedImage) -> Iterator[tuple[int, int, int]]:
    """Yield the runs of IMAGE: the number of a pack, the first block there, and how many follow."""
    numbers = array("I", image.runs)
    for at in range(0, len(numbers), _RUN):
        yield numbers[at], numbers[at + 1], numbers[at + 2]


def decode_index(data: bytes, path: Path) -> PackIndex:
    """Return the index in DATA, which was read from PATH."""
    try:
        found = zstandard.ZstdDecompressor().decompress(data)
        return msgspec.msgpack.decode(found, type=PackIndex)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise StoreError(f"{path} has an index that this dmtcp-py cannot read: {error}") from error


def encode_index(index: PackIndex) -> bytes:
    """Return INDEX as `decode_index` reads it."""
    return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(index))


def _checked(index: PackIndex, end: int, path: Path) -> PackIndex:
    """Return INDEX unless it leads beyond the pack: nothing in a file is trusted."""
    if index.format > FORMAT:
        raise NewerFormatError(f"{path} has format {index.format}", USE_NEWER)
    frames = -(-index.blocks // FRAME_BLOCKS)
    ends = array("Q", index.ends)
    is_good = len(ends) == frames and list(ends) == sorted(ends) and (not ends or ends[-1] <= end)
    for image in index.images:
        is_good = is_good and all(pack <= len(index.others) for pack, _, _ in runs_of(image))
    if not is_good:
        raise StoreError(f"{path} is damaged: its index leads elsewhere")
    return index


def _spans(image: SealedImage) -> Iterator[tuple[int, int, int, int]]:
    """Yield of which pieces of frames IMAGE consists: pack, frame, first block in the frame, how many."""
    for pack, first, count in runs_of(image):
        begin, end = first, first + count
        while begin < end:
            frame, at = divmod(begin, FRAME_BLOCKS)
            length = min(end - begin, FRAME_BLOCKS - at)
            yield pack, frame, at, length
            begin += length


def _part(frame: Future[bytes], first: int, count: int, left: int) -> memoryview:
    part = memoryview(frame.result())[first * BLOCK_BYTES : (first + count) * BLOCK_BYTES]
    if len(part) < min(count * BLOCK_BYTES, left):
        raise StoreError("a run of blocks leads beyond its frame")
    return part[:left]


_LOCAL = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    """Return the decompressor of this thread: none may be shared."""
    found: zstandard.ZstdDecompressor | None = getattr(_LOCAL, "decompressor", None)
    if found is None:
        found = _LOCAL.decompressor = zstandard.ZstdDecompressor()
    return found
