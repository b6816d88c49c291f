"""What is to be seen of a computation's processes before a checkpoint: what hinders in one, and who is connected."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.obstacles import CRIU_TAKES_IT, UNPROTECTED, Obstacle, is_inside, obstacle_in
from dmtcp_py.engine.dmtcp.passed_descriptors import received, target_of
from dmtcp_py.engine.dmtcp.unix_sockets import unix_sockets
from dmtcp_py.system.proc import name_of, process_tree, sockets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

Endpoint = tuple[str, int]
"""An address and a port."""
_SIZE = re.compile(rb"(?:^|\0)(?:OMPI_COMM_WORLD|PMI)_SIZE=(\d+)")
_CRIU_OR_NONE_SENT = (
    f"{CRIU_TAKES_IT}; Python sends none with multiprocessing's methods fork and spawn, nor PyTorch's DataLoader "
    "with num_workers=0"
)
_LOOKS_AGAIN, _AGAIN_S = 3, 0.1
_SYSLOG = ("/dev/log", "/run/systemd/journal/dev-log")
"""DMTCP closes the C library's connection to it by itself."""


@dataclass(frozen=True)
class Inspection:
    """What was seen on one node: a OBSTACLE, the two ends of each TCP CONNECTION, and how many RANKS of MPI."""

    obstacle: Obstacle | None
    connections: tuple[tuple[Endpoint, Endpoint], ...] = ()
    ranks: int = 0
    all_ranks: int = 0
    """How many they are to be on all nodes, as far as one of them was told."""


def inspect(pid: int | None) -> Inspection:
    """Return what is to be seen of process PID and its descendants, or of all that is below us where PID is None."""
    import psutil  # noqa: PLC0415 - 19 ms that a start of a program need not wait for

    connections: list[Any] = []
    sizes = []
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, psutil.Error):
            if found := obstacle_in(member, is_below=is_below):
                return Inspection(found)
            if not is_below and not is_inside(member):
                continue
            sizes += _SIZE.findall(Path(f"/proc/{member}/environ").read_bytes())
            if sockets_of(member):
                connections += psutil.Process(member).net_connections(kind="inet")
    # what is connected has, over UDP, no state
    connected = [one for one in connections if one.raddr and one.status in ("ESTABLISHED", "NONE")]
    ends = {(_end(one.laddr), _end(one.raddr)) for one in connected}
    found = _sent(pid) or _never_comes_up(connected) or _connected_by_name(pid)
    return Inspection(
        obstacle=found, connections=tuple(sorted(ends)), ranks=len(sizes), all_ranks=max(map(int, sizes), default=0)
    )


def first_obstacle(inspections: Sequence[Inspection], *, coordinator_port: int) -> Obstacle | None:
    """Return what DMTCP cannot take of a computation, of each node of which there is a look; None for nothing."""
    found = next((one.obstacle for one in inspections if one.obstacle), None)
    return found or _connected({ends for one in inspections for ends in one.connections}, coordinator_port)


def _sent(pid: int | None) -> Obstacle | None:
    """Look for what other processes sent, in process PID, those below it and what it has made a daemon of."""
    holder = received(_ours(pid), streams={target_of(f"/proc/{pid or os.getpid()}/fd/{stream}") for stream in range(3)})
    if holder is None:
        return None
    return Obstacle(
        f"process {holder.pid} ({name_of(holder.pid)}) has a descriptor that another process sent it "
        f"({holder.target}), and DMTCP would not bring it up again",
        _CRIU_OR_NONE_SENT,
    )


def _end(address: Any) -> Endpoint:
    """Return one end of a connection; an IPv4 address that is given as an IPv6 one is the same."""
    return address.ip.removeprefix("::ffff:"), address.port


def _connected(pairs: Collection[tuple[Endpoint, Endpoint]], coordinator_port: int) -> Obstacle | None:
    """Look for a TCP connection whose other end is not the program's own."""
    for local, remote in sorted(pairs):
        if (remote, local) not in pairs and remote[1] != coordinator_port:
            return Obstacle(
                f"it is connected to {remote[0]} port {remote[1]}, and DMTCP would wait for the other end for ever",
                f"it is tried again later; {UNPROTECTED}",
                needs_confirmation=True,
            )
    return None


def _never_comes_up(connected: Sequence[Any]) -> Obstacle | None:
    """Look for connections that DMTCP takes and does not make again.

    They are TCP of IPv6 sockets, which may be to an IPv4 address, while listeners alone do come up; and UDP among the
    program's own sockets.
    """
    datagrams = {(_end(one.laddr), _end(one.raddr)) for one in connected if one.type == socket.SOCK_DGRAM}
    for one in connected:
        where = f"{one.raddr.ip} port {one.raddr.port}"
        if one.family == socket.AF_INET6 and one.type == socket.SOCK_STREAM:
            return Obstacle(
                f"it is connected over IPv6 ({where}), and DMTCP would not bring it up again",
                f"{CRIU_TAKES_IT}, or use 127.0.0.1 at both ends",
            )
        if one.type == socket.SOCK_DGRAM and (_end(one.raddr), _end(one.laddr)) in datagrams:
            return Obstacle(
                f"its processes are connected over UDP ({where}), and DMTCP would not bring them up again",
                CRIU_TAKES_IT,
            )
    return None


def _connected_by_name(pid: int | None) -> Obstacle | None:
    """Look for a connection over a Unix socket whose other end is in none of our processes.

    A process that came in the meantime, and has the other end, was not looked at: only what stays so counts.
    """
    found = _foreign(_sockets_of_all(pid))
    for _ in range(_LOOKS_AGAIN):
        if not found:
            return None
        time.sleep(_AGAIN_S)
        now = _foreign(_sockets_of_all(pid))
        found = {inode: name for inode, name in found.items() if inode in now}
    if not found:
        return None
    return Obstacle(
        f"it is connected to {next(iter(found.values()))} (a Unix socket), and DMTCP would wait for the other end "
        "for ever",
        f"it is tried again later; {UNPROTECTED}",
    )


def _foreign(sockets: set[int]) -> dict[int, str]:
    """Return those of SOCKETS, by inode, that are connected to others than them, and the name of the other end."""
    # what we hold too was inherited from us, and is nothing that DMTCP saw connected
    mine = sockets - sockets_of(os.getpid())
    known = unix_sockets() if mine else {}
    found = {}
    for inode in sorted(mine & known.keys()):
        one = known[inode]
        if one.peer and one.peer not in sockets:
            other = known.get(one.peer)
            name = (other.name if other else "") or one.name or "another program"
            if name not in _SYSLOG:
                found[inode] = name
    return found


def _members(pid: int | None) -> list[tuple[int, bool]]:
    """Return process PID, those below it and all below us, and whether each is one of the former; None is all below us.

    What the program has made a daemon of is not below its first process any more.
    """
    ours = {member for member, _ in process_tree(os.getpid())[1:]}
    below = ours if pid is None else {member for member, _ in process_tree(pid)}
    return [(member, member in below) for member in below | ours]


def _ours(pid: int | None) -> list[int]:
    """Return process PID, those below it, and what the program has made a daemon of."""
    found = []
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if is_below or is_inside(member):
                found.append(member)
    return found


def _sockets_of_all(pid: int | None) -> set[int]:
    """Return the sockets of those processes."""
    found = set()
    for member in _ours(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            found |= sockets_of(member)
    return found
