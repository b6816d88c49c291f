"""Checks that a generation is still what was committed."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.errors import NoSuchJobError, StoreError
from dmtcp_py.store.access import access_problem
from dmtcp_py.store.layout import SEALED, manifest_path
from dmtcp_py.store.records import Manifest, read_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import ImageFile

_READ_BYTES = 4 << 20


def read_manifest(layout: JobLayout, number: int) -> Manifest:
    """Return the manifest of a complete generation; raise NoSuchJobError or StoreError."""
    path = manifest_path(layout.generation(number))
    try:
        manifest = read_record(path, Manifest)
    except FileNotFoundError:
        if layout.generation(number).is_dir():
            raise StoreError(f"{path} is missing", "choose another generation with --generation N") from None
        raise NoSuchJobError(
            f"job {layout.name} has no generation {number}", f"it has {layout.generation_numbers() or 'none'}"
        ) from None
    if manifest.generation != number:
        raise StoreError(
            f"{path} belongs to generation {manifest.generation}", "choose another one with --generation N"
        )
    return manifest


def verify(
    layout: JobLayout, number: int, on_read: Callable[[int], object] | None = None, *, but_sealed: bool = False
) -> Manifest:
    """Return the manifest of a generation after checking the size and hash of each image, BUT_SEALED those of the raw.

    Calls ON_READ with how many bytes were read each time.

    Raises StoreError with the first file that is missing, not a regular file, owned or writable by another user
    (restoring an image runs the code in it as the user who restores), or of another size or content.
    """
    manifest = read_manifest(layout, number)
    folder = layout.generation(number)
    for path in (folder, manifest_path(folder)):
        if problem := access_problem(path.lstat()):
            raise StoreError(f"{path} {problem}", "choose another one with --generation N")
    for image in manifest.images:
        problem = _image_problem(folder, image, on_read)
        if problem and not os.path.lexists(folder / image.name) and is_sealed(folder):
            # it may have been sealed while it was read
            problem = None if but_sealed else _sealed_problem(folder, image)
        if problem:
            raise StoreError(f"{folder / image.name} {problem}", "choose another one with --generation N")
    return manifest


def hash_file(path: Path, on_read: Callable[[int], object] | None = None) -> str:
    """Return the XXH3-128 hash of PATH's content in hex, which detects accidents but not forgeries.

    Calls ON_READ with how many bytes were read each time.
    """
    digest = xxhash.xxh3_128()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(fd, "rb", buffering=0) as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            if on_read is not None:
                on_read(len(block))
    return digest.hexdigest()


def is_sealed(folder: Path) -> bool:
    """Return whether the generation in FOLDER has a sealed form."""
    return (folder / SEALED).exists()


def _sealed_problem(folder: Path, image: ImageFile) -> str | None:
    from dmtcp_py.store.unseal import problem_in  # noqa: PLC0415 - zstandard takes a while to import

    return problem_in(folder, image)


def _image_problem(folder: Path, image: ImageFile, on_read: Callable[[int], object] | None) -> str | None:
    path = folder / image.name
    if any(parent.is_symlink() for parent in path.parents if folder in parent.parents):
        return "is reached through a symlink"
    try:
        found = path.lstat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if problem := access_problem(found):
        return problem
    if found.st_size != image.size:
        return f"has {found.st_size} bytes instead of {image.size}"
    try:
        if hash_file(path, on_read) != image.xxh3_128:
            return "does not have the content that was committed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None
