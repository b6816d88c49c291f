"""Copies of files whose old content a program may read back, made while a checkpoint has it suspended.

DMTCP cuts open files back to their size, but does not bring back what was overwritten in them. Its processes stay
suspended for some 40 ms after it has told that all images are written, and until the copies are made where
`native/files.c` is loaded into them; without it a copy counts only if it was made by then.
"""

from __future__ import annotations

import json
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.census import files_mapped, files_open_for_update
from dmtcp_py.engine.criu.frozen import FILES, MOST_COPIED_BYTES

if TYPE_CHECKING:
    import os

_MARGIN_NS = 10_000_000
"""A file's time of change may lag by a tick of the kernel."""


class Updates:
    """The files that process PID and those below it can read back what they write, at one checkpoint."""

    def __init__(self, pid: int, but_in: Path, images: Path) -> None:
        self._pid = pid
        self._but_in = but_in
        self._images = images
        self._paths: list[str] = []
        self._mapped: set[str] = set()
        self.missed: list[str] = []
        """Those of which no copy could be made before the program may have gone on: too large, or changed since."""

    @property
    def missed_mapped(self) -> tuple[str, ...]:
        """Those of the missed ones that are written as memory."""
        return tuple(path for path in self.missed if path in self._mapped)

    def look(self) -> None:
        """Find out which they are."""
        self._paths = files_open_for_update(self._pid, but_in=self._but_in)
        self._mapped = files_mapped(self._pid)

    def save(self, suspended_ns: int | None) -> None:
        """Copy them to the images, listed as `dmtcp_py.engine.rollback` reads it.

        SUSPENDED_NS is a moment at which the program was suspended, in nanoseconds since the epoch; None where it
        still is.
        """
        saved: list[dict[str, object]] = []
        for path in map(Path, self._paths):
            name = f"file-{len(saved) + 1}"
            with suppress(OSError):
                if path.stat().st_size <= MOST_COPIED_BYTES:
                    shutil.copyfile(path, self._images / name)
                    found = path.stat()
                    if suspended_ns is None or found.st_mtime_ns < suspended_ns - _MARGIN_NS:
                        saved.append(_described(path, found, name))
                        continue
            (self._images / name).unlink(missing_ok=True)
            self.missed.append(str(path))
        if saved:
            (self._images / FILES).write_text(json.dumps({"files": saved}), encoding="utf-8")


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
