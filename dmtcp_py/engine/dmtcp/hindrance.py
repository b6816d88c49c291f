"""What of a running program DMTCP cannot take: looked for before each checkpoint, as DMTCP finds out by hanging.

With any of these a checkpoint hangs, kills the program, or leaves a process out unseen (3.2, 4.2 and 5.0).
"""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.census import DELETED, command_of, tree
from dmtcp_py.engine.dmtcp.received import received
from dmtcp_py.engine.dmtcp.sockets import sockets_of, unix_sockets
from dmtcp_py.engine.executable import LAUNCHES_ELSEWHERE, SCHEDULERS_LAUNCHERS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

End = tuple[str, int]
"""An address and a port."""
_DEVICES = re.compile(r"/dev/(nvidia\d|nvidiactl|kfd|dri/renderD)")
_STARTING = "/memfd:dmtcp-run: MPI_Init"
"""native/openmpi.c opens it for as long as MPI_Init takes."""
_RING = "anon_inode:[io_uring]"
_LOST = (
    (re.compile(r"anon_inode:\[timerfd\]"), "a timer that is a file (timerfd)"),
    (re.compile(r"anon_inode:\[signalfd\]"), "a file from which it reads its signals (signalfd)"),
    (re.compile(r"/dev/(pts/)?ptmx$"), "a pseudo-terminal of its own"),
    (re.compile(r"/memfd:(?!dmtcp-run: )"), "a file in memory (memfd)"),
    (re.compile(r".*/#\d+ \(deleted\)$"), "a file that never had a name (O_TMPFILE)"),
)
"""Descriptors that are closed after a restart, or dead, or without what was in them, and what they are."""
_SIZE = re.compile(rb"(?:^|\0)(?:OMPI_COMM_WORLD|PMI)_SIZE=(\d+)")
_COPY = re.compile(r".*/dmtcp-[^/]+@[^/]+/[^/]+$")
"""Where DMTCP copies setuid programs to, and runs the copies."""
_SPAWNED = ("multiprocessing.spawn", "multiprocessing.forkserver", "--multiprocessing-fork")
"""In the lines of processes with which a checkpoint hangs, unless native/forks.c tells DMTCP of what they hold."""
_GLOO = "gloo_tcp_loop\n"
"""A thread's name, as the kernel gives it."""
_LOOKS_AGAIN, _AGAIN_S = 3, 0.1
_SYSLOG = ("/dev/log", "/run/systemd/journal/dev-log")
"""DMTCP closes the C library's connection to it by itself."""
_LIBRARY = "libdmtcp"
_FORKS = "/native/forks."
_CRIU_TAKES_IT = "--engine criu takes it"
_CRIU_OR_NONE_SENT = (
    f"{_CRIU_TAKES_IT}; Python sends none with multiprocessing's methods fork and spawn, nor PyTorch's DataLoader "
    "with num_workers=0"
)
_UNPROTECTED = "--allow-unprotected runs it without checkpoints"


@dataclass(frozen=True)
class Hindrance:
    """What stands in the way of a checkpoint, and what the user can do."""

    what: str
    hint: str
    passes: bool = False
    """Whether it will be over by itself, however long that takes."""


@dataclass(frozen=True)
class Look:
    """What was seen on one node: a HINDRANCE, the two ends of each TCP CONNECTION, and how many RANKS of MPI."""

    hindrance: Hindrance | None
    connections: tuple[tuple[End, End], ...] = ()
    ranks: int = 0
    all_ranks: int = 0
    """How many they are to be on all nodes, as far as one of them was told."""


def look(pid: int | None) -> Look:
    """Return what is to be seen of process PID and its descendants, or of all that is below us where PID is None."""
    import psutil  # noqa: PLC0415 - 19 ms that a start of a program need not wait for

    connections: list[Any] = []
    sizes = []
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, psutil.Error):
            found = _launches_elsewhere(member) or _outside(member) if is_below else None
            found = found or _spawned(member) or _distributed(member) or _held(member)
            if found:
                return Look(found)
            if not is_below and not _is_inside(member):
                continue
            sizes += _SIZE.findall(Path(f"/proc/{member}/environ").read_bytes())
            if sockets_of(member):
                connections += psutil.Process(member).net_connections(kind="inet")
    # what is connected has, over UDP, no state
    connected = [one for one in connections if one.raddr and one.status in ("ESTABLISHED", "NONE")]
    ends = {(_end(one.laddr), _end(one.raddr)) for one in connected}
    found = _sent(pid) or _never_comes_up(connected) or _connected_by_name(pid)
    return Look(found, tuple(sorted(ends)), len(sizes), max(map(int, sizes), default=0))


def hindrance(looks: Sequence[Look], *, coordinator_port: int) -> Hindrance | None:
    """Return what DMTCP cannot take of a computation, of each node of which there is a look; None for nothing."""
    found = next((one.hindrance for one in looks if one.hindrance), None)
    return found or _connected({ends for one in looks for ends in one.connections}, coordinator_port)


def _launches_elsewhere(pid: int) -> Hindrance | None:
    """Look whether it is a launcher of the scheduler's, which is no more DMTCP's than what it launches."""
    if _name(pid) not in SCHEDULERS_LAUNCHERS:
        return None
    return Hindrance(
        f"process {pid} ({_name(pid)}) {LAUNCHES_ELSEWHERE}",
        f"use mpirun in its place, and --nodes auto where a script calls it; {_UNPROTECTED}",
    )


def _outside(pid: int) -> Hindrance | None:
    """Look whether DMTCP is in the process at all."""
    try:
        if _COPY.match(os.readlink(f"/proc/{pid}/exe")):
            return Hindrance(
                f"process {pid} ({_name(pid)}) is a setuid program, which DMTCP runs without its privileges",
                _UNPROTECTED,
            )
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
    maps = _maps(pid)
    return not maps or _LIBRARY in maps


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")


def _spawned(pid: int) -> Hindrance | None:
    words = " ".join(command_of(pid)[0])
    if not any(text in words for text in _SPAWNED) or _FORKS in _maps(pid):
        return None
    return Hindrance(
        f"process {pid} was made by Python's multiprocessing with spawn or forkserver, and a checkpoint would hang, as "
        "there was no C compiler when dmtcp-py was installed",
        f"{_CRIU_TAKES_IT}, or use the start method fork",
    )


def _distributed(pid: int) -> Hindrance | None:
    """Look for PyTorch's distributed training over gloo: a restart of it crashes or hangs (3.2, 4.2)."""
    tasks = Path(f"/proc/{pid}/task")
    if not any(_thread_name(task) == _GLOO for task in tasks.iterdir()):
        return None
    return Hindrance(
        f"process {pid} ({_name(pid)}) is one of PyTorch's distributed training (gloo), which DMTCP would not bring up "
        "again",
        _CRIU_TAKES_IT,
    )


def _thread_name(task: Path) -> str:
    """Return the name of a thread; nothing where it has ended, which says nothing of the others."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (task / "comm").read_text(encoding="utf-8", errors="replace")
    return ""


def _held(pid: int) -> Hindrance | None:
    """Look for open files that DMTCP cannot take: GPUs, io_uring, what it loses, FIFOs whose name is gone."""
    folder = Path(f"/proc/{pid}/fd")
    given = {_target(f"/proc/self/fd/{stream}") for stream in range(3)}
    for entry in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):
            target = os.readlink(folder / entry)
            if target == _RING:
                return Hindrance(
                    f"process {pid} ({_name(pid)}) uses io_uring, and DMTCP cannot take it",
                    "--engine criu takes what can do without (libuv, torchrun)",
                )
            if _DEVICES.match(target):
                return Hindrance(
                    f"process {pid} ({_name(pid)}) uses {target}, and DMTCP cannot take a GPU", _UNPROTECTED
                )
            if target.startswith(_STARTING):
                what = f"process {pid} ({_name(pid)}) is within MPI_Init, and a restart would end it there"
                return Hindrance(what, "it is tried again later", passes=True)
            lost = next((what for pattern, what in _LOST if pattern.match(target)), None)
            if lost and target not in given:
                return Hindrance(
                    f"process {pid} ({_name(pid)}) has {lost}, which DMTCP would not bring up again", _CRIU_TAKES_IT
                )
            if target.endswith(DELETED) and (folder / entry).is_fifo():
                return Hindrance(
                    f"process {pid} ({_name(pid)}) has the FIFO {target} open, and DMTCP would not find it",
                    "it is tried again later",
                )
    return None


def _sent(pid: int | None) -> Hindrance | None:
    """Look for what other processes sent, in process PID, those below it and what it has made a daemon of."""
    members = []
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if is_below or _is_inside(member):
                members.append(member)
    holder = received(members, streams={_target(f"/proc/{pid or os.getpid()}/fd/{stream}") for stream in range(3)})
    if holder is None:
        return None
    return Hindrance(
        f"process {holder.pid} ({_name(holder.pid)}) has a descriptor that another process sent it ({holder.target}), "
        "and DMTCP would not bring it up again",
        _CRIU_OR_NONE_SENT,
    )


def _target(descriptor: str | Path) -> str:
    with suppress(OSError):
        return os.readlink(descriptor)
    return ""


def _end(address: Any) -> End:
    """Return one end of a connection; an IPv4 address that is given as an IPv6 one is the same."""
    return address.ip.removeprefix("::ffff:"), address.port


def _connected(pairs: Collection[tuple[End, End]], coordinator_port: int) -> Hindrance | None:
    """Look for a TCP connection whose other end is not the program's own."""
    for local, remote in sorted(pairs):
        if (remote, local) not in pairs and remote[1] != coordinator_port:
            return Hindrance(
                f"it is connected to {remote[0]} port {remote[1]}, and DMTCP would wait for the other end for ever",
                f"it is tried again later; {_UNPROTECTED}",
            )
    return None


def _never_comes_up(connected: Sequence[Any]) -> Hindrance | None:
    """Look for connections that DMTCP takes and does not make again.

    They are TCP of IPv6 sockets, which may be to an IPv4 address, while listeners alone do come up; and UDP among the
    program's own sockets.
    """
    datagrams = {(_end(one.laddr), _end(one.raddr)) for one in connected if one.type == socket.SOCK_DGRAM}
    for one in connected:
        where = f"{one.raddr.ip} port {one.raddr.port}"
        if one.family == socket.AF_INET6 and one.type == socket.SOCK_STREAM:
            return Hindrance(
                f"it is connected over IPv6 ({where}), and DMTCP would not bring it up again",
                f"{_CRIU_TAKES_IT}, or use 127.0.0.1 at both ends",
            )
        if one.type == socket.SOCK_DGRAM and (_end(one.raddr), _end(one.laddr)) in datagrams:
            return Hindrance(
                f"its processes are connected over UDP ({where}), and DMTCP would not bring them up again",
                _CRIU_TAKES_IT,
            )
    return None


def _connected_by_name(pid: int | None) -> Hindrance | None:
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
    return Hindrance(
        f"it is connected to {next(iter(found.values()))} (a Unix socket), and DMTCP would wait for the other end "
        "for ever",
        f"it is tried again later; {_UNPROTECTED}",
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
    ours = {member for member, _ in tree(os.getpid())[1:]}
    below = ours if pid is None else {member for member, _ in tree(pid)}
    return [(member, member in below) for member in below | ours]


def _sockets_of_all(pid: int | None) -> set[int]:
    """Return the sockets of process PID and those below it, and of what the program has made a daemon of."""
    found = set()
    for member, is_below in _members(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if is_below or _is_inside(member):
                found |= sockets_of(member)
    return found


def _name(pid: int) -> str:
    words = command_of(pid)[0]
    return Path(words[0]).name if words else "?"
