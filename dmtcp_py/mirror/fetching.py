"""Fetching a job from a mirror into its directory, of which the caller holds the lock or which nobody uses yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.mirror.contents import content_of
from dmtcp_py.mirror.errors import DamagedError, MirrorError
from dmtcp_py.mirror.place import LEAST_RATE
from dmtcp_py.store.layout import manifest_path
from dmtcp_py.store.mirrored import image_name
from dmtcp_py.store.records import encode
from dmtcp_py.system.files import (
    PRIVATE_DIR,
    PRIVATE_FILE,
    free_bytes,
    fsync_folders,
    fsync_path,
    make_private_dir,
    remove_tree,
    write_atomic,
)
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dmtcp_py.mirror.place import Place
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.mirrored import Index
    from dmtcp_py.store.records import ImageFile, Manifest

_FETCHED = "fetched.partial"
_SPARE_BYTES = 16 << 20


def fetch_rest(place: Place, layout: JobLayout, index: Index) -> None:
    """Replace the files of the job besides its generations by those of INDEX; the record of the job comes last."""
    aside = layout.root / _FETCHED
    remove_tree(aside)
    make_private_dir(aside)
    for file in index.files:
        path = aside / file.name
        path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        if file.link is not None:
            path.symlink_to(file.link)
        else:
            _write(path, content_of(place, index.job, file))
            # when a part of the journal began stands in the times of its files
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
    for target in reversed(layout.others()):
        remove_tree(target)
        source = aside / target.name
        if os.path.lexists(source):
            source.rename(target)
    fsync_path(layout.root)
    remove_tree(aside)


def fetch_generation(
    place: Place, layout: JobLayout, manifest: Manifest, progress: Callable[[int, float], None]
) -> None:
    """Fetch the generation of MANIFEST, verify each image, and make it complete.

    PROGRESS is called with how much arrived, and how much longer than usual the next bytes may take.
    Raises DamagedError if what arrives is not what was committed, and MirrorError if there is no room.
    """
    make_private_dir(layout.generations)
    free = free_bytes(layout.generations)
    if free < manifest.size + _SPARE_BYTES:
        raise MirrorError(
            f"{format_size(free)} are free in {layout.generations}, and generation {manifest.generation} takes "
            f"{format_size(manifest.size)}",
            "free space there or choose another --dir",
        )
    partial = layout.partial(manifest.generation)
    remove_tree(partial)
    make_private_dir(partial)
    for image in manifest.images:
        _fetch(place, layout, partial, manifest.generation, image, progress)
    fsync_folders(partial, [image.name for image in manifest.images])
    write_atomic(manifest_path(partial), encode(manifest))
    partial.rename(layout.generation(manifest.generation))
    fsync_path(layout.generations)


def _fetch(  # noqa: PLR0913, PLR0917 - one file of a generation
    place: Place,
    layout: JobLayout,
    partial: Path,
    number: int,
    image: ImageFile,
    progress: Callable[[int, float], None],
) -> None:
    path, digest = partial / image.name, xxhash.xxh3_128()
    path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)

    def blocks() -> Iterator[bytes]:
        progress(0, 0.0 if place.streams else image.size / LEAST_RATE)
        for block in place.read(image_name(layout.name, number, image.name)):
            digest.update(block)
            progress(len(block), 0.0)
            yield block

    try:
        _write(path, blocks())
    except FileNotFoundError:
        raise DamagedError(f"{image.name} of generation {number} is missing at the mirror") from None
    if path.stat().st_size != image.size or digest.hexdigest() != image.xxh3_128:
        raise DamagedError(f"{image.name} of generation {number} is not what was committed")


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(fd, "wb", buffering=0) as file:
        for block in blocks:
            left = memoryview(block)
            while left:
                left = left[file.write(left) :]
        os.fsync(fd)
