"""What of a running program DMTCP cannot take: looked for before each checkpoint, as DMTCP finds out by hanging.

With any of these a checkpoint hangs, kills the program, or leaves a process out unseen (3.2, 4.2 and 5.0).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.census import command_of, tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_DEVICES = re.compile(r"/dev/(nvidia\d|nvidiactl|kfd|dri/renderD)")
_SPAWNED = ("multiprocessing.spawn", "multiprocessing.forkserver", "--multiprocessing-fork")
_LIBRARY = "libdmtcp"
_CRIU_TAKES_IT = "--engine criu takes it"
_UNPROTECTED = "--allow-unprotected runs it without checkpoints"


@dataclass(frozen=True)
class Hindrance:
    """What stands in the way of a checkpoint, and what the user can do."""

    what: str
    hint: str


def hindrance(pid: int, *, coordinator_port: int) -> Hindrance | None:
    """Return what DMTCP cannot take of process PID or one of its descendants; None where nothing was found."""
    import psutil  # noqa: PLC0415 - 19 ms that a start of a program need not wait for

    connections = []
    below = {member for member, _ in tree(pid)}
    # what the program has made a daemon of is not below its first process any more, but below us
    for member in below | {member for member, _ in tree(os.getpid())}:
        with suppress(FileNotFoundError, ProcessLookupError, psutil.Error):
            found = _outside(member) if member in below else None
            found = found or _spawned(member) or _on_a_device(member)
            if found:
                return found
            if member in below or _is_inside(member):
                connections += psutil.Process(member).net_connections(kind="tcp")
    return _connected(connections, coordinator_port)


def _outside(pid: int) -> Hindrance | None:
    """Look whether DMTCP is in the process at all."""
    try:
        if _is_inside(pid):
            return None
    except PermissionError:
        return Hindrance(
            f"process {pid} ({_name(pid)}) runs with other privileges, and DMTCP cannot take it", _CRIU_TAKES_IT
        )
    return Hindrance(
        f"process {pid} ({_name(pid)}) is not in DMTCP's hands: it is statically linked, or dropped its environment",
        _CRIU_TAKES_IT,
    )


def _is_inside(pid: int) -> bool:
    """Whether DMTCP's library is in the process, or the process is at its end and has no memory any more."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    return not maps or _LIBRARY in maps


def _spawned(pid: int) -> Hindrance | None:
    words = " ".join(command_of(pid)[0])
    if not any(text in words for text in _SPAWNED):
        return None
    return Hindrance(
        f"process {pid} was made by Python's multiprocessing with spawn or forkserver, and a checkpoint would hang",
        f"{_CRIU_TAKES_IT}, or use the start method fork",
    )


def _on_a_device(pid: int) -> Hindrance | None:
    folder = Path(f"/proc/{pid}/fd")
    for entry in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):
            target = os.readlink(folder / entry)
            if _DEVICES.match(target):
                return Hindrance(
                    f"process {pid} ({_name(pid)}) uses {target}, and DMTCP cannot take a GPU", _UNPROTECTED
                )
    return None


def _connected(connections: Sequence[Any], coordinator_port: int) -> Hindrance | None:
    """Look for a TCP connection whose other end is not the program's own."""
    pairs = {(one.laddr, one.raddr) for one in connections if one.status == "ESTABLISHED"}
    for local, remote in sorted(pairs):
        if (remote, local) not in pairs and remote.port != coordinator_port:
            return Hindrance(
                f"it is connected to {remote.ip} port {remote.port}, and DMTCP would wait for the other end for ever",
                f"it is tried again later; {_UNPROTECTED}",
            )
    return None


def _name(pid: int) -> str:
    words = command_of(pid)[0]
    return Path(words[0]).name if words else "?"
