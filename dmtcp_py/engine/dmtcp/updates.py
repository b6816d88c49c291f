"""Copies of files whose old content a program may read back, made while a checkpoint has it suspended.

DMTCP cuts open files back to their size, but does not bring back what was overwritten in them. Its processes stay
suspended for some 40 ms after it has told that all images are written; a copy counts only if it was made by then.
"""

from __future__ import annotations

import json
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu.frozen import FILES, MOST_COPIED_BYTES

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

_MARGIN_NS = 10_000_000
"""A file's time of change may lag by a tick of the kernel."""


def save(paths: Iterable[str], images: Path, suspended_ns: int) -> list[str]:
    """Copy the files PATHS of a suspended program into IMAGES, listed as `dmtcp_py.engine.rollback` reads it.

    SUSPENDED_NS is a moment at which it was suspended, in nanoseconds since the epoch. Returns the files of which no
    copy could be made before it may have gone on: too large, or changed since.
    """
    saved: list[dict[str, object]] = []
    missed = []
    for path in map(Path, paths):
        name = f"file-{len(saved) + 1}"
        with suppress(OSError):
            if path.stat().st_size <= MOST_COPIED_BYTES:
                shutil.copyfile(path, images / name)
                found = path.stat()
                if found.st_mtime_ns < suspended_ns - _MARGIN_NS:
                    saved.append(_described(path, found, name))
                    continue
        (images / name).unlink(missing_ok=True)
        missed.append(str(path))
    if saved:
        (images / FILES).write_text(json.dumps({"files": saved}), encoding="utf-8")
    return missed


def _described(path: Path, found: os.stat_result, copy: str) -> dict[str, object]:
    return {
        "path": str(path),
        "size": found.st_size,
        "device": found.st_dev,
        "inode": found.st_ino,
        "mode": stat.S_IMODE(found.st_mode),
        "tail": "",
        "copy": copy,
        "is_read": True,
    }
