"""Packs what of a job a plain copy would not keep: links, pipes, times. HTCondor transfers directories that way.

A link to a directory is an error there, and a named pipe has the transfer hang (HTCondor 23.9). Generations are
regular files, and stay as they are; so do the records. Other links are those of an attempt, and go with it. If the
packing is interrupted, nothing is lost: what is removed is in the file by then.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dmtcp_py.errors import StoreError
from dmtcp_py.system.files import fsync_path

if TYPE_CHECKING:
    from dmtcp_py.store.layout import JobLayout


def pack(layout: JobLayout) -> None:
    """Replace the journal of the program's changes to files by one file, and remove all links. Raises OSError."""
    import tarfile  # noqa: PLC0415 - 2 to 10 ms with the compressors, and most jobs are never packed

    if layout.undo.is_dir():
        partial = layout.packed.with_suffix(".partial")
        with partial.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(layout.undo, arcname=layout.undo.name)
        partial.replace(layout.packed)
        fsync_path(layout.root)
        shutil.rmtree(layout.undo)
    for path in layout.root.rglob("*"):
        if path.is_symlink():
            path.unlink()


def unpack(layout: JobLayout) -> None:
    """Put back what `pack` has packed, if it has. Raises StoreError if that is damaged."""
    if not layout.packed.exists():
        return
    import tarfile  # noqa: PLC0415 - as above

    try:
        # an unpacking that was interrupted begins anew
        shutil.rmtree(layout.undo, ignore_errors=True)
        with tarfile.open(layout.packed) as tar:
            # as they were: what is in an image is trusted too
            tar.extraction_filter = lambda member, _: member
            tar.extractall(layout.root)  # noqa: S202 - for the reason above
    except (tarfile.TarError, EOFError) as error:
        raise StoreError(f"{layout.packed} is damaged: {error}", "use --fresh to start over") from error
    layout.packed.unlink()
