"""Checks that a generation is still what was committed."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.errors import NoSuchJobError, StoreError
from dmtcp_py.store.layout import manifest_path
from dmtcp_py.store.records import Manifest, read_record

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import ImageFile

_READ_BYTES = 4 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


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


def verify(layout: JobLayout, number: int) -> Manifest:
    """Return the manifest of a generation after checking the size and hash of each image.

    Raises StoreError with the first file that is missing, not a regular file, owned or writable by another user
    (restoring an image runs the code in it as the user who restores), or of another size or content.
    """
    manifest = read_manifest(layout, number)
    folder = layout.generation(number)
    for path in (folder, manifest_path(folder)):
        if problem := _access_problem(path.lstat()):
            raise StoreError(f"{path} {problem}", "choose another one with --generation N")
    for image in manifest.images:
        problem = _image_problem(folder, image)
        if problem:
            raise StoreError(f"{folder / image.name} {problem}", "choose another one with --generation N")
    return manifest


def hash_file(path: Path) -> str:
    """Return the XXH3-128 hash of PATH's content in hex, which detects accidents but not forgeries."""
    digest = xxhash.xxh3_128()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(fd, "rb", buffering=0) as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _image_problem(folder: Path, image: ImageFile) -> str | None:
    path = folder / image.name
    if any(parent.is_symlink() for parent in path.parents if folder in parent.parents):
        return "is reached through a symlink"
    try:
        found = path.lstat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if problem := _access_problem(found):
        return problem
    if found.st_size != image.size:
        return f"has {found.st_size} bytes instead of {image.size}"
    try:
        if hash_file(path) != image.xxh3_128:
            return "does not have the content that was committed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _access_problem(found: os.stat_result) -> str | None:
    """Return how another user could have changed the file, whose code a restore would run; None if they could not."""
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, and restoring would run it as user {os.geteuid()}"
    if found.st_mode & _OTHERS_WRITE:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return None
