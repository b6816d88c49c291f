"""Copies of files whose old content a program may read back, made while a checkpoint has it suspended.

DMTCP cuts open files back to their size, but does not bring back what was overwritten in them. Its processes stay
suspended for some 40 ms after it has said that all images are written, and, if ``native/files`` is loaded into them,
until the copies are made; without it a copy counts only if it was made by then.
"""

from __future__ import annotations

import math
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.rollback import held_files, in_memory
from dmtcp_py.rollback.held_files import HeldFile, HeldFiles
from dmtcp_py.system.proc import files_mapped, files_open_for_update

if TYPE_CHECKING:
    import os

HOLD_S = 15.0
"""Processes stay suspended for 20 s (native/file_events.c); a copy that took longer may be none of one moment."""
_MARGIN_NS = 10_000_000
"""A file's time of change may lag by a tick of the kernel."""


class FileCopies:
    """Copies, at one checkpoint, of the files that process PID and those below it can read back after writing."""

    def __init__(self, pid: int, but_in: Path, images: Path) -> None:
        self._pid = pid
        self._but_in = but_in
        self._images = images
        self._paths: list[str] = []
        self._mapped: set[str] = set()
        self.missed: list[str] = []
        """Those that could not be copied before the program may have run on: too large, or changed since."""
        self.notes: list[str] = []

    @property
    def missed_mapped(self) -> tuple[str, ...]:
        """Those of the missed ones that are written as memory, which the journal does not see."""
        return tuple(path for path in self.missed if path in self._mapped)

    def find(self) -> None:
        """Find out which files these are."""
        self._paths = files_open_for_update(self._pid, but_in=self._but_in)
        self._mapped = files_mapped(self._pid)

    def save(self, suspended_ns: int | None, journal: Path | None, until: float = math.inf) -> None:
        """Copy them to the images, and files in memory that JOURNAL, a folder, tells of if it is recorded.

        SUSPENDED_NS is a moment at which the program was suspended, in nanoseconds since the epoch; None if it still
        is, and stays so UNTIL then, in monotonic seconds.
        """
        saved: list[HeldFile] = []
        for path in map(Path, self._paths):
            name = f"file-{len(saved) + 1}"
            with suppress(OSError):
                if path.stat().st_size <= held_files.MOST_COPIED_BYTES:
                    shutil.copyfile(path, self._images / name)
                    found = path.stat()
                    is_in_time = suspended_ns is None or found.st_mtime_ns < suspended_ns - _MARGIN_NS
                    if is_in_time and time.monotonic() < until:
                        saved.append(_described(path, found, name))
                        continue
            (self._images / name).unlink(missing_ok=True)
            self.missed.append(str(path))
        memory, folders = ([], {}) if journal is None else in_memory.save(journal, self._images, self._mapped, until)
        self.notes = in_memory.notes(memory)
        if saved or memory or folders:
            held_files.write(self._images, HeldFiles(files=[*saved, *memory], folders=folders))


def _described(path: Path, found: os.stat_result, copy: str) -> HeldFile:
    return HeldFile(
        path=str(path),
        size=found.st_size,
        device=found.st_dev,
        inode=found.st_ino,
        mode=stat.S_IMODE(found.st_mode),
        copy=copy,
        is_read=True,
    )
