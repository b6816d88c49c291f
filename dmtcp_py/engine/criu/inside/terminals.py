"""Data that wait in pseudo-terminals, which criu takes out and puts back as if they had been printed or typed again.

So a dump would change them for the program that runs on, too. Uses the standard library alone.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.system import libc
from dmtcp_py.system.proc import open_descriptors, processes_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SLAVES = "/dev/pts/"
_MASTERS = ("/dev/ptmx", "/dev/pts/ptmx")
_PIDFD_GETFD = 438
"""The number of pidfd_getfd(2), the same on all machines but Alpha; no C library before 2.36 has the function."""
_DATA_IMAGE = "tty-data.img"
_HEADER_BYTES = 8


def waiting_in(pid: int, init: int) -> str | None:
    """Return the first terminal of process PID, of those that the processes from INIT on made, in which data wait."""
    own = [(place, target) for place, target, _ in open_descriptors(pid) if target.startswith((_SLAVES, *_MASTERS))]
    made = set(_made_by(processes_below(init))) if own else set()
    for place, target in own:
        name = _slave_of(place) if target in _MASTERS else target
        if name in made and _bytes_in(pid, int(place.name)):
            return name
    return None


def are_in(images: Path) -> bool:
    """Return whether criu has taken data out of a terminal for IMAGES."""
    with suppress(FileNotFoundError):
        return (images / _DATA_IMAGE).stat().st_size > _HEADER_BYTES
    return False


def _made_by(pids: Iterable[int]) -> Iterator[str]:
    for pid in pids:
        with suppress(OSError):
            for place, target, _ in open_descriptors(pid):
                if target in _MASTERS and (name := _slave_of(place)):
                    yield name


def _slave_of(master: Path) -> str | None:
    """Return the name of the other side of a terminal, which the kernel tells by its number."""
    info = Path(str(master).replace("/fd/", "/fdinfo/")).read_text(encoding="ascii", errors="replace")
    number = info.partition("tty-index:")[2].split()
    return f"{_SLAVES}{number[0]}" if number else None


def _bytes_in(pid: int, fd: int) -> int:
    """Return how many bytes could be read from descriptor FD of process PID; 0 where that may not be looked at."""
    reply = bytearray(4)
    with suppress(OSError):
        process = os.pidfd_open(pid)
        try:
            # another descriptor of the same: opened by its name in /proc, a master would be a new terminal
            copy = libc.made("syscall", _PIDFD_GETFD, process, fd, 0)
        finally:
            os.close(process)
        try:
            fcntl.ioctl(copy, termios.FIONREAD, reply)
        finally:
            os.close(copy)
    return int(struct.unpack("=i", reply)[0])
