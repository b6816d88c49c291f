"""Sending one generation to a mirror: its images, each verified there, then its manifest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.errors import StoreError
from dmtcp_py.mirror.errors import DamagedError
from dmtcp_py.mirror.place import BLOCK_BYTES, LEAST_RATE
from dmtcp_py.store.layout import manifest_path
from dmtcp_py.store.mirrored import MANIFEST, generation_name, image_name
from dmtcp_py.store.restorable import raw_image
from dmtcp_py.store.verify import hash_file, is_sealed, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.mirror.place import Place
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import ImageFile, Manifest


class Pace:
    """Holds the sender to RATE bytes a second (None for any).

    PROGRESS is called with how much was sent, and how much longer than usual the next step may take. It may raise, to
    end the sending.
    """

    def __init__(self, rate: float | None, progress: Callable[[int, float], None]) -> None:
        self._rate, self._progress = rate, progress
        self._free_at = time.monotonic()

    def sent(self, size: int) -> None:
        """Wait until SIZE more bytes may be on their way."""
        self._progress(size, 0)
        if self._rate is not None:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._rate
            while (left := self._free_at - time.monotonic()) > 0:
                time.sleep(min(left, 1.0))
                self._progress(0, 0)

    def read(self) -> None:
        """Say that something was read here or there."""
        self._progress(0, 0)

    def expect(self, size: int) -> None:
        """Say that the next step handles SIZE bytes, and reports nothing meanwhile."""
        self._progress(0, size / LEAST_RATE)


class _Meter:
    """Counts what is sent of SOURCE, and computes the hash of the manifest and of the place, if the place has one."""

    def __init__(self, place: Place, source: Path, pace: Pace) -> None:
        self.ours, self.theirs, self.sent = xxhash.xxh3_128(), place.digest(source), pace.sent

    def add(self, data: bytes) -> None:
        self.hash(data)
        self.sent(len(data))

    def hash(self, data: bytes) -> None:
        if self.theirs is not None:
            self.ours.update(data)
            self.theirs.update(data)


def send_images(place: Place, layout: JobLayout, number: int, pace: Pace) -> Manifest:
    """Send the images of generation NUMBER and return its manifest, which `send_manifest` sends.

    Raises StoreError if an image here is not what was committed, and whatever the place raises.
    """
    manifest = read_manifest(layout, number)
    folder = generation_name(layout.name, number)
    # as long as the images of another generation of this number are replaced, nobody may take them for complete
    if MANIFEST in place.names(folder):
        place.remove(f"{folder}/{MANIFEST}")
    for image in manifest.images:
        try:
            _send_here(place, layout, number, image, pace)
        except FileNotFoundError:
            # it was sealed meanwhile
            if not is_sealed(layout.generation(number)):
                raise
            _send_here(place, layout, number, image, pace)
    return manifest


def _send_here(place: Place, layout: JobLayout, number: int, image: ImageFile, pace: Pace) -> None:
    with raw_image(layout, number, image, pace.read) as source:
        send_image(place, source, image_name(layout.name, number, image.name), image, pace)


def send_manifest(place: Place, layout: JobLayout, number: int) -> None:
    """Make generation NUMBER complete at the mirror."""
    data = manifest_path(layout.generation(number)).read_bytes()
    place.write(f"{generation_name(layout.name, number)}/{MANIFEST}", data)


def send_image(place: Place, source: Path, name: str, image: ImageFile, pace: Pace) -> None:
    """Send SOURCE, which the manifest describes as IMAGE, to NAME, unless it is there; continue half a copy.

    Raises StoreError if SOURCE is not what was committed, and DamagedError if it did not arrive as it was sent.
    """
    there = place.size(name) or 0
    if there == image.size or (place.continues and 0 < there < image.size):
        if _continue(place, source, name, image, there, pace):
            return
        place.remove(name)
    if not _continue(place, source, name, image, 0, pace):
        place.remove(name)
        raise DamagedError(f"{name} arrived with another content than was sent")


def _continue(  # noqa: PLR0913, PLR0917 - one file of a generation
    place: Place, source: Path, name: str, image: ImageFile, start: int, pace: Pace
) -> bool:
    """Send SOURCE from byte START on; return whether the copy then equals what was committed."""
    meter = _Meter(place, source, pace)
    if meter.theirs is not None:
        _hash_beginning(source, start, meter, pace)
    if start < image.size or image.size == 0:
        pace.expect(image.size)
        place.send(source, name, start, meter)
    pace.expect(image.size)
    if meter.theirs is None:
        if _is_there(place, name, image, pace):
            return True
        _refuse_changed(source, hash_file(source, lambda _size: pace.read()), image)
        return False
    _refuse_changed(source, meter.ours.hexdigest(), image)
    has = place.has(name, meter.theirs)
    return _is_there(place, name, image, pace) if has is None else has


def _hash_beginning(source: Path, end: int, meter: _Meter, pace: Pace) -> None:
    with source.open("rb", buffering=0) as file:
        while end > 0 and (block := file.read(min(BLOCK_BYTES, end))):
            meter.hash(block)
            pace.read()
            end -= len(block)


def _is_there(place: Place, name: str, image: ImageFile, pace: Pace) -> bool:
    found = xxhash.xxh3_128()
    for block in place.read(name):
        found.update(block)
        pace.read()
    return bool(found.hexdigest() == image.xxh3_128)


def _refuse_changed(source: Path, found: str, image: ImageFile) -> None:
    if found != image.xxh3_128:
        raise StoreError(f"{source} does not have the content that was committed", "it is not copied")
