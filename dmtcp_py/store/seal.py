"""Seals a generation: compresses its images, without the blocks that the sealed generation before has already.

Nothing that is committed is changed before the sealed form is on the disk and was read back: it is written under a
temporary name, fsynced, compared with the manifest, and renamed; then the images are removed. After a crash at any step
each image is there in one form at least. Knows no process and no priority, see `dmtcp_py.store.seal_process`.
"""

from __future__ import annotations

import os
import secrets
from array import array
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import xxhash
import zstandard

from dmtcp_py.errors import StoreError
from dmtcp_py.store.former import Former, Matches, hashes_of
from dmtcp_py.store.layout import SEALED, SEALING
from dmtcp_py.store.records import path_text
from dmtcp_py.store.sealed import (
    BLOCK_BYTES,
    FOOTER,
    FRAME_BLOCKS,
    HASH_BYTES,
    MAGIC,
    OWN,
    THREADS,
    PackIndex,
    Sealed,
    SealedImage,
    encode_index,
    linked_name,
)
from dmtcp_py.store.unseal import sealed_problem
from dmtcp_py.store.verify import is_sealed, read_manifest
from dmtcp_py.system.files import PRIVATE_FILE, free_bytes, fsync_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from io import FileIO
    from pathlib import Path
    from typing import IO

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import ImageFile, Manifest

LEAST_BYTES = 1 << 20
"""Smaller files stay as they are."""
_READ_IN_PLACE = ".json"
_LEVEL = 3
_IN_WORK = 16
_LEAST_SHARE = 0.5
"""Of a pack of which less is still needed, the rest is stored anew: else what is not needed would pile up."""
_MOST_PACKS = 16
_ROOM = 2.5
"""How many times the images have to fit on the disk, so that the next checkpoint finds room."""


@dataclass(frozen=True)
class SealedAs:
    """What a sealed generation takes: so many bytes of its own, where the images had SIZE."""

    size: int
    stored: int


def can_be_sealed(folder: Path, manifest: Manifest) -> list[ImageFile]:
    """Return the images of the generation in FOLDER that are large enough and not sealed yet."""
    if is_sealed(folder):
        return []
    return [
        image
        for image in manifest.images
        if image.size >= LEAST_BYTES and not image.name.endswith(_READ_IN_PLACE) and (folder / image.name).is_file()
    ]


def seal(layout: JobLayout, number: int, former: int | None, may_replace: Callable[[], None]) -> SealedAs | None:
    """Seal generation NUMBER with the blocks of FORMER, a sealed generation; return None if nothing is to be sealed.

    MAY_REPLACE is called before the sealed form counts, and raises FencedError if another attempt holds the job. Raises
    StoreError if an image is damaged or there is no room, and FileNotFoundError if a generation is removed meanwhile.
    """
    manifest, folder = read_manifest(layout, number), layout.generation(number)
    images = can_be_sealed(folder, manifest)
    if not images:
        return None
    size = sum(image.size for image in images)
    if free_bytes(folder) < size * _ROOM:
        raise StoreError(f"there is not enough room to seal generation {number}")
    temporary = folder / f"{SEALING}{os.getpid()}.tmp"
    try:
        with ExitStack() as stack:
            before = None if former is None else stack.enter_context(closing(Sealed(layout.generation(former))))
            _Writer(folder, before).write(temporary, images)
        fsync_path(folder)
        stored = temporary.stat().st_size
        with closing(Sealed(folder, temporary)) as written:
            for image in images:
                if problem := sealed_problem(written, image):
                    raise StoreError(f"{folder / image.name} cannot be sealed: what was written {problem}")
        may_replace()
        temporary.rename(folder / SEALED)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(folder)
    for image in images:
        (folder / image.name).unlink(missing_ok=True)
    return SealedAs(size, stored)


def finish(layout: JobLayout, number: int) -> None:
    """Remove the images of generation NUMBER that a process that was killed had sealed, but not removed."""
    folder = layout.generation(number)
    if not is_sealed(folder):
        return
    left = [image for image in read_manifest(layout, number).images if (folder / image.name).exists()]
    with closing(Sealed(folder)) as sealed:
        sealed_too = [image for image in left if path_text(image.name) in sealed.images]
        whole = [image for image in sealed_too if sealed_problem(sealed, image) is None]
    for image in whole:
        (folder / image.name).unlink(missing_ok=True)


class _Writer:
    """Writes the pack of the generation in FOLDER; BEFORE is the sealed generation whose blocks it need not have."""

    def __init__(self, folder: Path, before: Sealed | None) -> None:
        self._folder, self._before = folder, before
        self._hashes = bytearray()
        self._others: list[str] = []

    def write(self, path: Path, images: list[ImageFile]) -> None:
        """Write IMAGES to PATH and fsync it."""
        found = [self._match(image) for image in images]
        shared = self._shared(found)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(fd, "wb") as file, ThreadPoolExecutor(THREADS) as pool:
            frames = _Frames(file, pool)
            sealed = [self._image(image, one, shared, frames) for image, one in zip(images, found, strict=True)]
            frames.finish()
            index = PackIndex(
                id=secrets.token_hex(16),
                ends=frames.ends.tobytes(),
                hashes=bytes(self._hashes),
                others=self._others,
                images=sealed,
            )
            data = encode_index(index)
            begin = file.tell()
            file.write(data + FOOTER.pack(begin, len(data), xxhash.xxh3_128_digest(data), MAGIC))
            file.flush()
            os.fsync(fd)

    def _match(self, image: ImageFile) -> Matches:
        former = None if self._before is None else Former(self._before, path_text(image.name))
        hashes, digest = hashes_of(self._folder / image.name)
        if digest != image.xxh3_128:
            raise StoreError(f"{self._folder / image.name} does not have the content that was committed")
        return Matches(hashes, former)

    def _shared(self, found: list[Matches]) -> dict[str, int]:
        """Link the packs of which enough is still needed; return their numbers in this one by their ids."""
        if self._before is None:
            return {}
        used: dict[int, int] = {}
        for one in found:
            for number, count in one.used.items():
                used[number] = used.get(number, 0) + count
        packs = {number: self._before.pack(number) for number in used}
        worth = [number for number, pack in packs.items() if used[number] >= _LEAST_SHARE * pack.index.blocks]
        for number in sorted(worth, key=lambda number: used[number], reverse=True)[:_MOST_PACKS]:
            pack = packs[number]
            if _link(pack.path, self._folder / linked_name(pack.index.id)):
                self._others.append(pack.index.id)
        return {pack_id: number for number, pack_id in enumerate(self._others, start=1)}

    def _image(self, image: ImageFile, found: Matches, shared: dict[str, int], frames: _Frames) -> SealedImage:
        numbers = {}
        if self._before is not None:
            ids = [self._before.own.index.id, *self._before.own.index.others]
            numbers = {number: shared[one] for number, one in enumerate(ids) if one in shared}
        runs = array("I")
        with (self._folder / image.name).open("rb", buffering=0) as file:
            for first, count, pack, block in found.runs(numbers):
                if pack != OWN:
                    runs.extend((pack, block, count))
                    continue
                runs.extend((OWN, frames.blocks, count))
                self._hashes += found.hashes[first * HASH_BYTES : (first + count) * HASH_BYTES]
                frames.add(file, first, count)
        return SealedImage(name=path_text(image.name), size=image.size, runs=runs.tobytes())


@dataclass
class _Frames:
    """Compresses blocks in the threads of POOL, and writes them to FILE in order."""

    file: IO[bytes]
    pool: ThreadPoolExecutor
    ends: array[int] = field(default_factory=lambda: array("Q"))
    blocks: int = 0
    _rest: bytearray = field(default_factory=bytearray)
    _waiting: deque[Future[bytes]] = field(default_factory=deque)

    def add(self, source: FileIO, first: int, count: int) -> None:
        """Add COUNT blocks of SOURCE from block FIRST on; what the last one lacks is zeros."""
        frame_bytes = FRAME_BLOCKS * BLOCK_BYTES
        self.blocks += count
        at, left = first * BLOCK_BYTES, count * BLOCK_BYTES
        while left:
            data = os.pread(source.fileno(), min(left, frame_bytes - len(self._rest)), at)
            if not data and left >= BLOCK_BYTES:
                raise StoreError(f"{source.name} has become shorter")
            data = data or bytes(left)
            self._rest += data
            at, left = at + len(data), left - len(data)
            if len(self._rest) == frame_bytes:
                self._submit()

    def finish(self) -> None:
        """Write what is left."""
        if self._rest:
            self._submit()
        while self._waiting:
            self._write()

    def _submit(self) -> None:
        self._waiting.append(self.pool.submit(_compressed, bytes(self._rest)))
        self._rest.clear()
        if len(self._waiting) > _IN_WORK:
            self._write()

    def _write(self) -> None:
        self.file.write(self._waiting.popleft().result())
        self.ends.append(self.file.tell())


def _compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)


def _link(source: Path, target: Path) -> bool:
    """Give file SOURCE the name TARGET, too; return False where the file system has no such links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        # of an earlier try
        return target.samefile(source)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True
