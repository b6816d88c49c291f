"""The images of a generation as an engine reads them: verified, and decompressed if they are sealed."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from dmtcp_py.store.layout import UNSEALED
from dmtcp_py.store.verify import is_sealed, verify
from dmtcp_py.system.files import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import ImageFile, Manifest


@contextmanager
def restorable(
    layout: JobLayout, number: int, make_folder: Callable[[], Path], on_read: Callable[[int], object] | None = None
) -> Iterator[tuple[Manifest, Path]]:
    """Provide the manifest of generation NUMBER and the directory with its images, for the time of a restart.

    Sealed images are decompressed into MAKE_FOLDER's. Calls ON_READ with how many bytes were read each time.
    Raises StoreError if one is not what was committed, and another DmtcpRunError if there is no room.
    """
    manifest, folder = verify(layout, number, on_read, but_sealed=True), layout.generation(number)
    if not is_sealed(folder) or all((folder / image.name).exists() for image in manifest.images):
        yield manifest, folder
        return
    from dmtcp_py.store.unseal import write_images  # noqa: PLC0415 - zstandard takes a while to import

    raw = make_folder()
    try:
        write_images(folder, manifest, raw, on_read or (lambda _count: None))
        yield manifest, raw
    finally:
        remove_tree(raw)


@contextmanager
def raw_image(layout: JobLayout, number: int, image: ImageFile, meter: Callable[[], object]) -> Iterator[Path]:
    """Provide IMAGE of generation NUMBER as a file: its own, or a copy for the time being where it is sealed.

    METER is called while the copy is written. Raises StoreError if the sealed form is damaged.
    """
    folder = layout.generation(number)
    path = folder / image.name
    if path.exists() or not is_sealed(folder):
        yield path
        return
    from dmtcp_py.store.sealed import Sealed  # noqa: PLC0415 - as above
    from dmtcp_py.store.unseal import write_image  # noqa: PLC0415 - as above

    copy = layout.mirrors / f"{os.getpid()}{UNSEALED}"
    try:
        with closing(Sealed(folder)) as sealed:
            write_image(sealed, image, copy, lambda _count: meter())
        yield copy
    finally:
        copy.unlink(missing_ok=True)
