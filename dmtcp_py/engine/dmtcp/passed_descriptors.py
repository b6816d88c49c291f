"""Descriptors that a process received from another, which DMTCP does not see: the processes that still have them.

native/sent.c records them in a file in memory. It misses descriptors received by other calls than recvmsg() and
recvmmsg(), and descriptors that the only process with the record passed on before it ended.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.system.proc import SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_RECORD = "/memfd:dmtcp-run: received"
_MOST_RECORD_BYTES = 1 << 20
"""The size at which native/sent.c stops recording."""
_FLAGS = r"(?m)^flags:\s*([0-7]+)$"


class Holder(Struct, frozen=True):
    """A process with a received descriptor that leads to TARGET."""

    pid: int
    target: str


class _Received(Struct, frozen=True):
    """A received descriptor: its number, its access mode (O_RDONLY, O_WRONLY or O_RDWR), and what it leads to."""

    number: int
    access: int
    target: str


def find_holder(pids: Collection[int], *, streams: Collection[str]) -> Holder | None:
    """Return the first of the processes PIDS that prevents a checkpoint by a received descriptor; None if none does.

    That is a process that has one open, also as a copy under another number or inherited from the receiver; or one that
    ever received shared memory, or more descriptors than fit into its record, as it will do so again. A descriptor that
    leads to one of the program's STREAMS counts under its recorded number only, as every process has those open.
    """
    recorded: set[_Received] = set()
    for pid in pids:
        for number, target in _open(pid):
            if target.startswith(_RECORD):
                with suppress(OSError):
                    text = _read(pid, number)
                    found = _parse(text)
                    for one in found:
                        if one.target.startswith(SHARED_MEMORY) or len(text) >= _MOST_RECORD_BYTES:
                            return Holder(pid, one.target)
                    recorded |= found
    targets = {one.target for one in recorded}
    for pid in pids if recorded else ():
        for number, target in _open(pid):
            if target in targets and _is_recorded(pid, number, recorded, target, is_stream=target in streams):
                return Holder(pid, target)
    return None


def target_of(descriptor: str | Path) -> str:
    """Return what DESCRIPTOR, a path in /proc, leads to; nothing if it is closed."""
    with suppress(OSError):
        return os.readlink(descriptor)
    return ""


def _open(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the number of each descriptor of process PID, and what it leads to."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for entry in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
            with suppress(OSError):
                yield int(entry), os.readlink(f"{folder}/{entry}")


def _read(pid: int, number: int) -> bytes:
    with open(f"/proc/{pid}/fd/{number}", "rb") as record:  # noqa: PTH123 - it has no path
        return record.read()


def _parse(text: bytes) -> set[_Received]:
    """Return the entries of a record; one that is being written has no NUL yet, and is left out."""
    entries = set()
    for line in text.split(b"\0")[:-1]:
        number, access, target = os.fsdecode(line).split(" ", 2)
        entries.add(_Received(int(number), int(access), target))
    return entries


def _is_recorded(pid: int, number: int, recorded: Collection[_Received], target: str, *, is_stream: bool) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as info:  # noqa: PTH123 - as above
        flags = re.search(_FLAGS, info.read())
        access = int(flags[1], 8) & os.O_ACCMODE if flags else -1
        return any(
            one.target == target and one.access == access and (one.number == number or not is_stream)
            for one in recorded
        )
    return False
