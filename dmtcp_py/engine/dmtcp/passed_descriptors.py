"""Descriptors that processes of a program were sent by others, which DMTCP does not see: who still has them.

By the notes of native/sent.c. It does not know what a process took by other calls than recvmsg() and recvmmsg(), nor
what the only process that had the notes has handed on before it ended.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.system.proc import SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_NOTES = "/memfd:dmtcp-run: received"
_MOST_NOTES = 1 << 20
"""So many bytes, and no more follow."""
_FLAGS = re.compile(r"^flags:\s*([0-7]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Holder:
    """A process that has something that leads to TARGET and was sent."""

    pid: int
    target: str


@dataclass(frozen=True)
class _Note:
    """A descriptor that was received: its number, O_RDONLY, O_WRONLY or O_RDWR, and what it leads to."""

    number: int
    access: int
    target: str


def received(pids: Collection[int], *, streams: Collection[str]) -> Holder | None:
    """Return the first of the processes PIDS that hinders a checkpoint by what it was sent; None where there is none.

    That is whoever has it open, as a copy of another number too, or was handed it by who received it; and who was sent
    shared memory ever, or so much that it was not all noted, as it will be again. What the program's STREAMS lead to
    counts by its number alone, as every process has it open.
    """
    notes: set[_Note] = set()
    for pid in pids:
        for number, target in _open(pid):
            if target.startswith(_NOTES):
                with suppress(OSError):
                    text = _read(pid, number)
                    found = _parsed(text)
                    for one in found:
                        if one.target.startswith(SHARED_MEMORY) or len(text) >= _MOST_NOTES:
                            return Holder(pid, one.target)
                    notes |= found
    targets = {one.target for one in notes}
    for pid in pids if notes else ():
        for number, target in _open(pid):
            if target in targets and _is_noted(pid, number, notes, target, is_stream=target in streams):
                return Holder(pid, target)
    return None


def target_of(descriptor: str | Path) -> str:
    """Return what a DESCRIPTOR, by its path in /proc, leads to; nothing where it is closed."""
    with suppress(OSError):
        return os.readlink(descriptor)
    return ""


def _open(pid: int) -> Iterator[tuple[int, str]]:
    """Give the number of each descriptor of process PID, and what it leads to."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for entry in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
            with suppress(OSError):
                yield int(entry), os.readlink(f"{folder}/{entry}")


def _read(pid: int, number: int) -> bytes:
    with open(f"/proc/{pid}/fd/{number}", "rb") as notes:  # noqa: PTH123 - it has no path
        return notes.read()


def _parsed(text: bytes) -> set[_Note]:
    """Return what is noted in TEXT; what is being noted just now has no NUL yet."""
    notes = set()
    for line in text.split(b"\0")[:-1]:
        number, access, target = os.fsdecode(line).split(" ", 2)
        notes.add(_Note(int(number), int(access), target))
    return notes


def _is_noted(pid: int, number: int, notes: Collection[_Note], target: str, *, is_stream: bool) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as info:  # noqa: PTH123 - as above
        flags = _FLAGS.search(info.read())
        access = int(flags[1], 8) & os.O_ACCMODE if flags else -1
        return any(
            one.target == target and one.access == access and (one.number == number or not is_stream) for one in notes
        )
    return False
