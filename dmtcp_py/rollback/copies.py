"""Copies of files whose old content a program may read back, made while a checkpoint has it suspended.

DMTCP cuts open files back to their size, but does not bring back what was overwritten in them. Once all images are
written, its processes wait until the copies are made if ``native/files`` is loaded into them. Without it they run on
some milliseconds later, and a copy counts only if it was made by then.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from dmtcp_py.rollback import held_files, in_memory
from dmtcp_py.rollback.held_files import HeldFile, HeldFiles, described
from dmtcp_py.rollback.inputs import Found
from dmtcp_py.system.proc import files_open
from dmtcp_py.system.stamps import Stamp, stamp_of

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
        self._only_written: list[Path] = []
        self._only_read: dict[str, str] = {}
        self._temporary: list[str] = []
        self.missed: list[str] = []
        """Those that could not be copied before the program may have run on: too large, or changed since."""
        self.stamps: dict[str, Stamp] = {}
        """Those of the missed ones that were read while the program was suspended."""
        self.notes: list[str] = []

    @property
    def missed_mapped(self) -> tuple[str, ...]:
        """Those of the missed ones that are written as memory, which the journal does not see."""
        return tuple(path for path in self.missed if path in self._mapped)

    def find(self) -> None:
        """Find out which files these are."""
        found = files_open(self._pid, but_in=self._but_in)
        inherited = inherited_streams()
        self._paths = [path for path in found.for_update if not _is_passed_on(Path(path), inherited)]
        self._mapped = found.mapped
        others = found.for_writing.difference(found.for_update)
        self._only_written = [Path(path) for path in sorted(others) if not Path(path).is_relative_to(self._but_in)]
        self._only_read = {
            path: place for path, place in found.for_reading.items() if not Path(path).is_relative_to(self._but_in)
        }
        self._temporary = [
            str(Path(path).with_name(f"{held_files.TEMPORARY}{inode:x}"))
            for path, inode in sorted(found.nameless)
            if path.startswith("/") and not Path(path).is_relative_to(self._but_in)
        ]

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
                        saved.append(described(path, found, name)._replace(is_read=True))
                        continue
            (self._images / name).unlink(missing_ok=True)
            self.missed.append(str(path))
            with suppress(OSError):
                stamp = stamp_of(path.stat())
                if suspended_ns is None and time.monotonic() < until:
                    self.stamps[str(path)] = stamp
        saved += self._sizes(suspended_ns, until)
        memory, folders = ([], {}) if journal is None else in_memory.save(journal, self._images, self._mapped, until)
        self.notes = in_memory.notes(memory)
        inputs = Found()
        for name, place in self._only_read.items():
            inputs.add(place, name)
        read = inputs.but((file.device, file.inode) for file in saved)
        held = HeldFiles(files=[*saved, *memory], folders=folders, inputs=read, temporary=self._temporary)
        if held != HeldFiles(files=[]):
            held_files.write(self._images, held)

    def _sizes(self, suspended_ns: int | None, until: float) -> list[HeldFile]:
        """Return those that the program cannot read back, whose size is enough; `save` explains the parameters."""
        found, inherited = [], inherited_streams()
        for path in self._only_written:
            with suppress(OSError):
                status = path.stat()
                if (status.st_dev, status.st_ino) in inherited:
                    continue
                tail = held_files.tail_of(path, status.st_size)
                is_in_time = suspended_ns is None or status.st_mtime_ns < suspended_ns - _MARGIN_NS
                if is_in_time and time.monotonic() < until and not in_memory.is_in_memory(path):
                    found.append(described(path, status, None)._replace(tail=tail))
        return found


def _is_passed_on(path: Path, inherited: set[tuple[int, int]]) -> bool:
    """Whether PATH is one of the INHERITED streams that this user could not open to put its content back."""
    with suppress(OSError):
        status = path.stat()
        return (status.st_dev, status.st_ino) in inherited and not os.access(path, os.W_OK)
    return False


def inherited_streams() -> set[tuple[int, int]]:
    """Return the files that are our own streams, which the program inherits: others write to them too."""
    found = set()
    for fd in (1, 2):
        with suppress(OSError):
            status = os.fstat(fd)
            found.add((status.st_dev, status.st_ino))
    return found
