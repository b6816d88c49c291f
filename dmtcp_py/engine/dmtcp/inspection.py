"""The inspection of a computation's processes before a checkpoint: obstacles in them, and their connections."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.dmtcp.kernel_obstacles import kernel_obstacle
from dmtcp_py.engine.dmtcp.obstacles import (
    ONCE_CLOSED,
    TRIED_AGAIN,
    UNPROTECTED,
    USE_CRIU,
    Obstacle,
    is_inside,
    obstacle_in,
)
from dmtcp_py.engine.dmtcp.passed_descriptors import find_holder, target_of
from dmtcp_py.engine.dmtcp.unix_sockets import unix_sockets
from dmtcp_py.system.proc import name_of, process_tree, sockets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

Endpoint = tuple[str, int]
"""An address and a port."""
_WORLD_SIZE = rb"(?:^|\0)(?:OMPI_COMM_WORLD|PMI)_SIZE=(\d+)"
_CRIU_OR_SEND_NONE = (
    f"{USE_CRIU}; Python sends no descriptors with multiprocessing's methods fork and spawn, and PyTorch's "
    "DataLoader none with num_workers=0"
)
_REPEATS, _REPEAT_S = 3, 0.1
_HALF_CLOSED = ("FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT")
_SYSLOG = ("/dev/log", "/run/systemd/journal/dev-log")
"""The sockets of syslog; DMTCP closes the C library's connection to them before a checkpoint."""


class Inspection(Struct, frozen=True):
    """The findings on one node: an OBSTACLE, the two ends of each IP connection, and the number of MPI RANKS."""

    obstacle: Obstacle | None
    connections: tuple[tuple[Endpoint, Endpoint], ...] = ()
    ranks: int = 0
    all_ranks: int = 0
    """The number of ranks on all nodes, according to the environment of those here."""


def inspect(pid: int | None) -> Inspection:
    """Inspect the program whose first process is PID; if PID is None, all descendants of this process."""
    import psutil  # noqa: PLC0415 - 19 ms that a start of a program need not wait for

    connections: list[Any] = []
    sizes = []
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, psutil.Error):
            if found := obstacle_in(member, is_below=is_below):
                return Inspection(found)
            if not is_below and not is_inside(member):
                continue
            if found := kernel_obstacle(member):
                return Inspection(found)
            sizes += re.findall(_WORLD_SIZE, Path(f"/proc/{member}/environ").read_bytes())
            if sockets_of(member):
                connections += psutil.Process(member).net_connections(kind="inet")
    # a connected UDP socket has the state NONE
    connected = [one for one in connections if one.raddr and one.status in ("ESTABLISHED", "NONE")]
    ends = {(_endpoint(one.laddr), _endpoint(one.raddr)) for one in connected}
    found = (
        _received_descriptor(pid)
        or _unaccepted_connection(connections)
        or _unrestorable_connection(connected)
        or _message_sockets(pid)
        or _half_closed_connection(pid, connections)
        or _outside_unix_connection(pid)
    )
    return Inspection(
        obstacle=found, connections=tuple(sorted(ends)), ranks=len(sizes), all_ranks=max(map(int, sizes), default=0)
    )


def first_obstacle(inspections: Sequence[Inspection], *, coordinator_port: int) -> Obstacle | None:
    """Return what prevents a checkpoint, given the inspections of all nodes; None if nothing does."""
    found = next((one.obstacle for one in inspections if one.obstacle), None)
    return found or _outside_connection({ends for one in inspections for ends in one.connections}, coordinator_port)


def _received_descriptor(pid: int | None) -> Obstacle | None:
    """Find a descriptor that a process of the program received from another process."""
    holder = find_holder(
        _program_processes(pid), streams={target_of(f"/proc/{pid or os.getpid()}/fd/{stream}") for stream in range(3)}
    )
    if holder is None:
        return None
    return Obstacle(
        f"process {holder.pid} ({name_of(holder.pid)}) has a descriptor that another process sent it "
        f"({holder.target}), which DMTCP does not restore",
        _CRIU_OR_SEND_NONE,
    )


def _endpoint(address: Any) -> Endpoint:
    """Return one end of a connection, with an IPv4 address for one that is mapped to IPv6."""
    return address.ip.removeprefix("::ffff:"), address.port


def _outside_connection(pairs: Collection[tuple[Endpoint, Endpoint]], coordinator_port: int) -> Obstacle | None:
    """Find an IP connection whose other end is not in the program."""
    for local, remote in sorted(pairs):
        if (remote, local) not in pairs and remote[1] != coordinator_port:
            return Obstacle(
                f"the program is connected to {remote[0]} port {remote[1]}, and DMTCP would wait for the other end "
                "forever",
                f"{ONCE_CLOSED}; {UNPROTECTED}",
                needs_confirmation=True,
            )
    return None


def _unaccepted_connection(connections: Sequence[Any]) -> Obstacle | None:
    """Find a connection within the program that one process has begun, and the other one has not accepted yet."""
    listening = {one.laddr.port for one in connections if one.status == "LISTEN"}
    ends = {(_endpoint(one.laddr), _endpoint(one.raddr)) for one in connections if one.raddr}
    for near, far in sorted(ends):
        if far[1] in listening and far[0] == near[0] and (far, near) not in ends:
            what = f"a process of the program has not yet accepted a connection of another one to port {far[1]}"
            return Obstacle(what, TRIED_AGAIN, is_temporary=True)
    return None


def _unrestorable_connection(connected: Sequence[Any]) -> Obstacle | None:
    """Find a connection that DMTCP checkpoints but does not restore.

    These are TCP connections of IPv6 sockets, also to an IPv4 address (sockets that only listen are restored), and UDP
    connections among the program's own sockets.
    """
    datagrams = {(_endpoint(one.laddr), _endpoint(one.raddr)) for one in connected if one.type == socket.SOCK_DGRAM}
    for one in connected:
        where = f"{one.raddr.ip} port {one.raddr.port}"
        if one.family == socket.AF_INET6 and one.type == socket.SOCK_STREAM:
            return Obstacle(
                f"the program is connected over IPv6 ({where}), which DMTCP does not restore",
                f"{USE_CRIU}, or use 127.0.0.1 at both ends",
            )
        if one.type == socket.SOCK_DGRAM and (_endpoint(one.raddr), _endpoint(one.laddr)) in datagrams:
            return Obstacle(
                f"the program's sockets are connected over UDP ({where}), which DMTCP does not restore",
                USE_CRIU,
            )
    return None


def _outside_unix_connection(pid: int | None) -> Obstacle | None:
    """Find a connection over a Unix socket whose other end is not in the program.

    The other end may be in a process that started during the search: only a connection that is found each time counts.
    """
    found = _foreign(_sockets_of_all(pid))
    for _ in range(_REPEATS):
        if not found:
            return None
        time.sleep(_REPEAT_S)
        now = _foreign(_sockets_of_all(pid))
        found = {inode: name for inode, name in found.items() if inode in now}
    if not found:
        return None
    return Obstacle(
        f"the program is connected to {next(iter(found.values()))} (a Unix socket), and DMTCP would wait for the other "
        "end forever",
        f"{ONCE_CLOSED}; {UNPROTECTED}",
    )


def _message_sockets(pid: int | None) -> Obstacle | None:
    """Find Unix sockets of the program that send each other messages, which DMTCP mixes with their lengths or loses."""
    sockets = _sockets_of_all(pid)
    known = unix_sockets() if sockets else {}
    for inode in sorted(sockets & known.keys()):
        if known[inode].kind != socket.SOCK_STREAM and known[inode].peer in sockets:
            kind = socket.SocketKind(known[inode].kind).name
            return Obstacle(
                f"the program's Unix sockets send each other messages ({kind}), which DMTCP does not restore", USE_CRIU
            )
    return None


def _half_closed_connection(pid: int | None, connections: Sequence[Any]) -> Obstacle | None:
    """Find a connection within the program that one end has shut down for writing: DMTCP restores it as closed."""
    ends = {(_endpoint(one.laddr), _endpoint(one.raddr)) for one in connections if one.raddr}
    halves = {(_endpoint(one.laddr), _endpoint(one.raddr)) for one in connections if one.status in _HALF_CLOSED}
    sockets = _sockets_of_all(pid)
    known = unix_sockets() if sockets else {}
    is_found = any((remote, local) in ends for local, remote in halves) or any(
        known[inode].is_half_closed and known[inode].peer in sockets for inode in sockets & known.keys()
    )
    if not is_found:
        return None
    return Obstacle(
        "the program has shut down one direction of a connection between its sockets (shutdown(2)), and DMTCP restores "
        "none of it",
        f"{USE_CRIU}; or {ONCE_CLOSED}",
        needs_confirmation=True,
    )


def _foreign(sockets: set[int]) -> dict[int, str]:
    """Return those of SOCKETS, by inode, that are connected to none of SOCKETS, with the name of the other end."""
    # sockets that this process has too were inherited from it; DMTCP did not see them connected
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
    """Return process PID and all our descendants, each with whether it is PID, or below it; for None, all are.

    A daemon that the program started is no longer below its first process.
    """
    ours = {member for member, _ in process_tree(os.getpid())[1:]}
    below = ours if pid is None else {member for member, _ in process_tree(pid)}
    return [(member, member in below) for member in below | ours]


def _program_processes(pid: int | None) -> list[int]:
    """Return process PID, its descendants, and daemons that they started."""
    found = []
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if is_below or is_inside(member):
                found.append(member)
    return found


def _sockets_of_all(pid: int | None) -> set[int]:
    """Return the inodes of the program's sockets."""
    found = set()
    for member in _program_processes(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            found |= sockets_of(member)
    return found
