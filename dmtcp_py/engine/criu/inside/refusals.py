"""What a way of running CRIU cannot checkpoint, or would restore as something else, found in /proc by name.

The same look is made from outside before a dump, and for what criu would not notice once more while all processes are
frozen. Uses the standard library alone.
"""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu.inside import refused_memory, terminals
from dmtcp_py.engine.criu.inside.refusal import Refusal
from dmtcp_py.system.proc import DELETED, has_ended, names_left, open_descriptors, processes_below, sockets_of
from dmtcp_py.system.tcp import readable, tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dmtcp_py.system.tcp import TcpSocket

SECCOMP, HIDDEN, TCP, WATCHES = "seccomp", "hidden", "tcp", "watches"
NAMELESS_MEMORY, SYSV_IDS, ENDED = "memory", "sysv", "ended"
RENAMED, UNDONE, DESCRIPTORS, OF_THREAD = "renamed", "undone", "descriptors", "of thread"
MEMFD, TERMINALS, LIMITS = "memfd", "terminals", "limits"
UNNOTICED = (NAMELESS_MEMORY, SYSV_IDS, ENDED, RENAMED, UNDONE, DESCRIPTORS, OF_THREAD, MEMFD, TERMINALS)
"""What criu would not notice at the dump."""
FROZEN_ONLY = (SYSV_IDS, OF_THREAD)
"""Seen only in the namespaces of the computation."""
_MARK = "/undo/gate"
_CRIUS_LINK = "link_remap."
_ADMINISTRATOR = "as root, or with the capabilities that 'dmtcp-ctl doctor' names, CRIU can"
_INOTIFY, _FANOTIFY = "anon_inode:inotify", "anon_inode:[fanotify]"
_OF_PROCESS = re.compile(r"/proc/(\d+)(?:/task/(\d+))?/")
_LISTENING, _CLOSED = "0A", "07"
_LOST_BIT = 128
_CRIUS_DESCRIPTORS, _ALIGNED_TO = 64, 128
"""How many descriptors criu has above those of a process at a restore, at most, and what their limit is rounded to."""


def first(pids: Iterable[int], names: Iterable[str]) -> Refusal | None:
    """Return the first refusal of the kinds NAMES that applies to one of PIDS, the first of which is the init."""
    finders = [_FINDERS[name] for name in names]
    known = list(pids)
    for pid in known:
        # the kernel gives the entries in /proc of a process that has ended to root
        for finder in [one for one in finders if one is _ended or not has_ended(pid)]:
            # a process may end while it is looked at
            with suppress(FileNotFoundError, ProcessLookupError):
                if (found := finder(pid, known[0])) is not None:
                    return found._replace(what=f"process {pid} ({_name(pid)}) {found.what}")
    return None


def has_seccomp_filter(pid: int) -> bool:
    """Return whether process PID has a filter of system calls."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.startswith("Seccomp:") and line.split()[1] != "0" for line in lines)


def _seccomp(pid: int, _init: int) -> Refusal | None:
    if not has_seccomp_filter(pid):
        return None
    return Refusal("filters its system calls (seccomp), which CRIU cannot suspend without privileges", _ADMINISTRATOR)


def _hidden(pid: int, _init: int) -> Refusal | None:
    """Find a process that is not dumpable: the kernel gives its entries in /proc to root."""
    if Path(f"/proc/{pid}/stat").stat().st_uid == os.geteuid():
        return None
    return Refusal("hides its memory from its own user (PR_SET_DUMPABLE), and CRIU without privileges is that user")


def _tcp(pid: int, init: int) -> Refusal | None:
    own = sockets_of(pid)
    for one in tcp_sockets(pid) if own else ():
        if one.inode in own and one.state not in {_LISTENING, _CLOSED}:
            return _of_connection(one, init)
    return None


def _of_connection(one: TcpSocket, init: int) -> Refusal:
    """Refuse a connection in the host's network, whose other end may belong to the computation."""
    own = {inode for pid in processes_below(init) for inode in sockets_of(pid)}
    if any((other.near, other.far) == (one.far, one.near) and other.inode in own for other in tcp_sockets(init)):
        return Refusal(
            "has TCP connections within the program, which CRIU without privileges can restore in no network but one "
            "of the program's own",
            "add --network own to the line: the program then reaches itself, and nothing outside",
        )
    return Refusal(
        f"has a TCP connection to {readable(one.far)}, outside the program, which CRIU cannot restore without "
        "privileges",
        _ADMINISTRATOR,
    )


def _watches(pid: int, _init: int) -> Refusal | None:
    """Find a watch on files: the kernel knows it by a handle, which only root may turn into a name."""
    if not any(target in (_INOTIFY, _FANOTIFY) for _, target, _ in open_descriptors(pid)):
        return None
    return Refusal(
        "watches files (inotify or fanotify), which CRIU cannot checkpoint without privileges",
        f"a checkpoint is possible once it is closed; {_ADMINISTRATOR}",
    )


def _ended(pid: int, _init: int) -> Refusal | None:
    """Find a child that has not been waited for and whose status criu restores without its highest bit."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    status = int(fields[-1]) >> 8
    if fields[0] == "Z" and fields[-1] == "0" and _is_hidden(pid):
        return Refusal(
            "has ended and is not waited for yet, and the kernel does not show its status, as it hid its memory",
            "a checkpoint is possible once its parent has waited for it",
            is_temporary=True,
        )
    if fields[0] != "Z" or status < _LOST_BIT:
        return None
    return Refusal(
        f"has ended with status {status} and is not waited for yet, and CRIU would restore {status - _LOST_BIT}",
        "a checkpoint is possible once its parent has waited for it",
        is_temporary=True,
    )


def _is_hidden(pid: int) -> bool:
    """Return whether the kernel shows the status of PID, which has ended, as 0 whatever it was."""
    try:
        # refused by the same rule
        os.readlink(f"/proc/{pid}/ns/user")
    except PermissionError:
        return True
    return False


def _descriptors(pid: int, _init: int) -> Refusal | None:
    """Find a process with so many open files that criu has no room for its own at the restore."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")), default=0)  # noqa: PTH208 - only names are needed
    if hard == resource.RLIM_INFINITY or highest + _CRIUS_DESCRIPTORS <= hard // _ALIGNED_TO * _ALIGNED_TO:
        return None
    return Refusal(
        f"has descriptor {highest} open, and CRIU needs {_CRIUS_DESCRIPTORS} more to restore it, which this user's "
        f"limit of {hard} does not allow",
        "a checkpoint is possible with fewer open files, or a higher 'ulimit -Hn'",
    )


def _limits(pid: int, _init: int) -> Refusal | None:
    """Find a process whose limits criu may not read, as a root without all capabilities: it has several users."""
    try:
        resource.prlimit(pid, resource.RLIMIT_CPU)
    except PermissionError:
        return Refusal("has another saved user or group, and CRIU lacks CAP_SYS_RESOURCE to read its limits")
    return None


def own_names_left(place: Path) -> list[Path] | None:
    """Return what `names_left` does, without the names that criu makes for a dump."""
    names = names_left(place)
    return None if names is None else [name for name in names if not name.name.startswith(_CRIUS_LINK)]


def _renamed(pid: int, _init: int) -> Refusal | None:
    """Find an open file that has lost the name it was opened by, and whose other name is in another directory."""
    for place, target, _ in open_descriptors(pid):
        if own_names_left(place) == []:
            return Refusal(
                f"has {target.removesuffix(DELETED)} open, which has another name now, in another directory, by which "
                "CRIU does not find it",
                "a checkpoint is possible once it is closed",
            )
    return None


def _of_thread(pid: int, _init: int) -> Refusal | None:
    """Find an open file about a thread in /proc: criu opens files before there are threads but the first ones."""
    for _, target, _ in open_descriptors(pid):
        found = _OF_PROCESS.match(target)
        number = found and (found[2] or found[1])
        if number and _leader_of(number) not in (None, number):
            return Refusal(
                f"has {target} open, about a thread, which CRIU cannot open again",
                "a checkpoint is possible once it is closed",
                is_temporary=True,
            )
    return None


def _terminals(pid: int, init: int) -> Refusal | None:
    """Find a pseudo-terminal of the computation's own with data that nobody has read yet."""
    if (name := terminals.waiting_in(pid, init)) is None:
        return None
    return Refusal(
        f"has data in the pseudo-terminal {name} that were not read yet, which CRIU would change",
        "a checkpoint is possible once the program has read them",
        is_temporary=True,
    )


def _leader_of(thread: str) -> str | None:
    """Return the process of THREAD, which has ended if there is none."""
    with suppress(OSError):
        lines = Path(f"/proc/{thread}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.split()[1] for line in lines if line.startswith("Tgid:")), None)
    return None


def _undone(pid: int, _init: int) -> Refusal | None:
    """Find what native/semaphores.c has mapped while the kernel would undo operations at the end of the process."""
    if not any(line.endswith(_MARK) for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n")):
        return None
    return Refusal(
        "holds or waits for a System V semaphore that is released at its end (SEM_UNDO), which CRIU does not restore",
        "a checkpoint is possible once the process has released it; --engine dmtcp can checkpoint it",
        is_temporary=True,
    )


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "?"


_FINDERS: dict[str, Callable[[int, int], Refusal | None]] = {
    SECCOMP: _seccomp,
    HIDDEN: _hidden,
    TCP: _tcp,
    WATCHES: _watches,
    NAMELESS_MEMORY: refused_memory.nameless,
    SYSV_IDS: refused_memory.sysv_ids,
    ENDED: _ended,
    RENAMED: _renamed,
    UNDONE: _undone,
    DESCRIPTORS: _descriptors,
    OF_THREAD: _of_thread,
    MEMFD: refused_memory.memfd,
    TERMINALS: _terminals,
    LIMITS: _limits,
}
