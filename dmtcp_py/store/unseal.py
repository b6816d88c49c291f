"""Reads sealed images: to verify them, and to write them out again for an engine, each compared with the manifest."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.errors import DmtcpRunError, StoreError
from dmtcp_py.store.records import path_text
from dmtcp_py.store.sealed import Sealed
from dmtcp_py.system.files import PRIVATE_DIR, PRIVATE_FILE, free_bytes
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dmtcp_py.store.records import ImageFile, Manifest

_OTHER = "does not have the content that was committed"
_WRITE_BYTES = 4 << 20


def sealed_problem(sealed: Sealed, image: ImageFile) -> str | None:
    """Return what is wrong with the sealed form of IMAGE; None if it is what was committed."""
    digest = xxhash.xxh3_128()
    try:
        for part in _content(sealed, image):
            digest.update(part)
    except StoreError as error:
        return f"cannot be read: {error.what}"
    return None if digest.hexdigest() == image.xxh3_128 else _OTHER


def problem_in(folder: Path, image: ImageFile) -> str | None:
    """Return what is wrong with IMAGE of the sealed generation in FOLDER; None if it is what was committed."""
    try:
        with closing(Sealed(folder)) as sealed:
            return sealed_problem(sealed, image)
    except StoreError as error:
        return f"cannot be read: {error.what}"


def write_images(folder: Path, manifest: Manifest, target: Path, on_read: Callable[[int], object]) -> None:
    """Write all images of the sealed generation in FOLDER, which MANIFEST describes, into TARGET, and verify them.

    Calls ON_READ with how many bytes were read each time.
    Raises StoreError if one is not what was committed, and DmtcpRunError if they cannot be written.
    """
    if (free := free_bytes(target)) < manifest.size:
        raise DmtcpRunError(
            f"{format_size(free)} are free in {target.resolve()}, and the images of generation {manifest.generation} "
            f"take {format_size(manifest.size)} once they are decompressed",
            "free space there or choose another disk with --stage-local",
        )
    with closing(Sealed(folder)) as sealed:
        for image in manifest.images:
            path = target / image.name
            path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            if path_text(image.name) in sealed.images and not (folder / image.name).exists():
                write_image(sealed, image, path, on_read)
            else:
                _copy(folder / image.name, path)


def write_image(sealed: Sealed, image: ImageFile, path: Path, on_read: Callable[[int], object]) -> None:
    """Write IMAGE to PATH. Calls ON_READ with how many bytes were read each time.

    Raises StoreError if it is not what was committed, and DmtcpRunError if it cannot be written.
    """
    digest = xxhash.xxh3_128()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(fd, "wb", buffering=_WRITE_BYTES) as file:
            for part in _content(sealed, image):
                digest.update(part)
                file.write(part)
                on_read(len(part))
    except OSError as error:
        what = "there is no room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise DmtcpRunError(f"{path} cannot be written: {what}", "free space there") from error
    if digest.hexdigest() != image.xxh3_128:
        raise StoreError(f"{sealed.folder / image.name} {_OTHER}", "choose another one with --generation N")


def _content(sealed: Sealed, image: ImageFile) -> Iterator[memoryview]:
    name = path_text(image.name)
    if name not in sealed.images:
        raise StoreError(f"{sealed.own.path} does not have {image.name}")
    return sealed.content(name)


def _copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
