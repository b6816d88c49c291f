"""The program's files in /dev/shm, which are gone after a reboot and not there on another machine.

The journal records which files these are, but keeps nothing of their content: each generation has a copy of all of
them, up to a bound. Segments that are mapped are left out, because the images contain them. Uses the standard library
alone.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.rollback.held_files import HeldFile, described
from dmtcp_py.rollback.journal import read_entries
from dmtcp_py.rollback.parts import numbers_of
from dmtcp_py.system.proc import SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dmtcp_py.rollback.journal import Entry

MOST_BYTES = 4 << 30
_SPARE_BYTES = 64 << 20
_KNOWN = "in-memory"
"""Beside the parts: the files that parts which are gone told of, each with a NUL at its end."""


def is_in_memory(path: Path | str) -> bool:
    """Whether PATH is in /dev/shm."""
    return str(path).startswith(SHARED_MEMORY)


def remember(root: Path, part: Path) -> None:
    """Keep which files in memory PART, which is to go, told of."""
    if new := _told_of(read_entries(part)) - _remembered(root):
        with (root / _KNOWN).open("ab") as file:
            file.write(b"".join(os.fsencode(path) + b"\0" for path in sorted(new)))


def save(root: Path, images: Path, mapped: set[str], until: float) -> tuple[list[HeldFile], dict[str, int]]:
    """Copy the files in memory that the journal in ROOT tells of to IMAGES; leave out those that are MAPPED.

    Returns them, without a copy where there is no room or the bound is reached, and the modes of the directories. Call
    it while the program is suspended, which it is UNTIL then, in monotonic seconds.
    """
    files: list[HeldFile] = []
    folders: dict[str, int] = {}
    size = 0
    for path in sorted(_all(root)):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                folders[str(path)] = stat.S_IMODE(found.st_mode)
            if not stat.S_ISREG(found.st_mode) or str(path) in mapped:
                continue
            size += found.st_size
            is_possible = time.monotonic() < until and _has_room(images, size, found.st_size)
            copy = f"memory-{len(files) + 1}" if is_possible else None
            if copy is not None:
                shutil.copyfile(path, images / copy)
            if copy is not None and time.monotonic() > until:
                (images / copy).unlink()
                copy = None
            files.append(described(path, found, copy))
            folders |= {
                str(folder): stat.S_IMODE(folder.stat().st_mode) for folder in path.parents if is_in_memory(folder)
            }
    return files, folders


def notes(files: Iterable[HeldFile]) -> list[str]:
    """Return a warning on those of FILES that are in memory and of which there is no copy."""
    left = [file.path for file in files if is_in_memory(file.path) and file.copy is None and not file.is_mapped]
    return [
        f"{path} is in memory and too large to keep (up to {MOST_BYTES >> 30} GB in all, while there is room): after a "
        "reboot, or on another machine, the job does not resume, and after a crash only if the file was not overwritten"
        for path in left
    ]


def _has_room(images: Path, total: int, size: int) -> bool:
    return total <= MOST_BYTES and shutil.disk_usage(images).free > size + _SPARE_BYTES


def _all(root: Path) -> set[Path]:
    """Return the files that any part in ROOT tells or told of, and what is in directories that were moved."""
    found = _remembered(root)
    for number in numbers_of(root):
        found |= _told_of(read_entries(root / f"{number:06}"))
    return found


def _told_of(entries: Iterable[Entry]) -> set[Path]:
    found = set()
    for entry in entries:
        if is_in_memory(entry.path):
            found.add(entry.path)
        if entry.moved_to is not None and is_in_memory(entry.moved_to):
            found |= {entry.moved_to, *entry.moved_to.rglob("*")}
    return found


def _remembered(root: Path) -> set[Path]:
    with suppress(FileNotFoundError):
        return {Path(os.fsdecode(name)) for name in (root / _KNOWN).read_bytes().split(b"\0")[:-1]}
    return set()
