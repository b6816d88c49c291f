"""What a way of running CRIU cannot checkpoint, or would restore as something else, found in /proc by name.

The same look is made from outside before a dump, and for what criu would not notice once more while all processes are
frozen. Uses the standard library alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.engine.criu.inside import terminals
from dmtcp_py.system import libc
from dmtcp_py.system.proc import DELETED, has_ended, names_left, open_descriptors, processes_below, sockets_of
from dmtcp_py.system.tcp import readable, tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dmtcp_py.system.tcp import TcpSocket

SECCOMP, HIDDEN, TCP, WATCHES = "seccomp", "hidden", "tcp", "watches"
NAMELESS_MEMORY, SYSV_IDS, ENDED = "memory", "sysv", "ended"
RENAMED, UNDONE, DESCRIPTORS, OF_THREAD = "renamed", "undone", "descriptors", "of thread"
MEMFD, TERMINALS = "memfd", "terminals"
UNNOTICED = (NAMELESS_MEMORY, SYSV_IDS, ENDED, RENAMED, UNDONE, DESCRIPTORS, OF_THREAD, MEMFD, TERMINALS)
"""What criu would not notice at the dump."""
FROZEN_ONLY = (SYSV_IDS, OF_THREAD)
"""Seen only in the namespaces of the computation."""
_NAME = "refused.json"
_MARK = "/undo/gate"
_CRIUS_LINK = "link_remap."
_ADMINISTRATOR = "as root, or with the capabilities that 'dmtcp-ctl doctor' names, CRIU can"
_COMPILER = "install dmtcp-py on a machine with a C compiler"
_INOTIFY, _FANOTIFY = "anon_inode:inotify", "anon_inode:[fanotify]"
_OF_PROCESS = re.compile(r"/proc/(\d+)(?:/task/(\d+))?/")
_LISTENING, _CLOSED = "0A", "07"
_LOST_BIT = 128
_CRIUS_DESCRIPTORS, _ALIGNED_TO = 64, 128
"""How many descriptors criu has above those of a process at a restore, at most, and what their limit is rounded to."""
_MAPS_FIELDS = 6
_MEMFD = "/memfd:"
_F_SEAL_FUTURE_WRITE = 0x10
"""In linux/fcntl.h from 5.1 on; Python names it from 3.13 on."""
_CLONE_NEWIPC = 0x08000000
_SYSV = Path("/proc/sysvipc")
_NEXT_ID = Path("/proc/sys/kernel/shm_next_id")


class Refusal(NamedTuple):
    """What cannot be checkpointed, and the next step."""

    what: str
    hint: str = ""
    is_temporary: bool = False
    """Whether a later checkpoint may be possible."""
    has_changed: bool = False
    """Whether the dump has changed the program, which must not run on."""


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


def write(images: Path, refusal: Refusal) -> None:
    """Leave a refusal while frozen beside what there is of the images."""
    (images / _NAME).write_text(json.dumps(refusal), encoding="utf-8")


def left_in(images: Path) -> Refusal | None:
    """Return the refusal of the last dump into IMAGES; None if there was none."""
    with suppress(FileNotFoundError):
        return Refusal(*json.loads((images / _NAME).read_text(encoding="utf-8")))
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


def _memfd(pid: int, _init: int) -> Refusal | None:
    """Find a memfd that is executed, or mapped and sealed against writing: no restore would succeed."""
    # with capabilities: what hides its memory is for criu alone
    with suppress(PermissionError):
        if os.readlink(f"/proc/{pid}/exe").startswith(_MEMFD):
            return Refusal("was executed from a file in memory (memfd), which CRIU does not restore")
    sealed = {place.stat().st_ino for place, target, _ in open_descriptors(pid) if _is_sealed(place, target)}
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n") if sealed else ():
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[1].endswith("s") and int(fields[4]) in sealed:
            return Refusal(
                "has mapped a file in memory (memfd) that is sealed against writing, which CRIU does not restore"
            )
    return None


def _is_sealed(place: Path, target: str) -> bool:
    if not target.startswith(_MEMFD):
        return False
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & (fcntl.F_SEAL_WRITE | _F_SEAL_FUTURE_WRITE))
    finally:
        os.close(fd)


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


def _nameless_memory(pid: int, _init: int) -> Refusal | None:
    """Find a mapped file without a name, such as a memfd; the library for criu finds its descriptor."""
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[5].startswith("/") and fields[5].endswith(DELETED):
            path = fields[5].removesuffix(DELETED)
            return Refusal(
                f"has mapped {path}, a file without a name, which CRIU without privileges would restore wrongly",
                _COMPILER,
            )
    return None


def _sysv_ids(pid: int, init: int) -> Refusal | None:
    """Find System V objects with ids that neither criu nor a new namespace gives them, which counts from 0."""
    if pid == init or os.readlink(f"/proc/{pid}/ns/ipc") == os.readlink("/proc/self/ns/ipc"):
        return None
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(Exception):
            status = _judge_ids(pid)
        os._exit(status)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        return None
    return Refusal("has System V objects made after others were removed: CRIU without privileges cannot number them so")


def _judge_ids(pid: int) -> int:
    """Enter the IPC namespace of PID; return 1 if the ids in it are not those of objects made one after the other.

    Return 0 if criu can choose the ids there, as in newer kernels.
    """
    fd = os.open(f"/proc/{pid}/ns/ipc", os.O_RDONLY | os.O_CLOEXEC)
    libc.call("setns", fd, _CLONE_NEWIPC)
    # with effective ids: the check with real ones leaves capabilities out
    if os.access(_NEXT_ID, os.W_OK, effective_ids=True):
        return 0
    for table in ("shm", "sem", "msg"):
        rows = (_SYSV / table).read_text(encoding="ascii").splitlines()[1:]
        if sorted(int(row.split()[1]) for row in rows) != list(range(len(rows))):
            return 1
    return 0


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "?"


_FINDERS: dict[str, Callable[[int, int], Refusal | None]] = {
    SECCOMP: _seccomp,
    HIDDEN: _hidden,
    TCP: _tcp,
    WATCHES: _watches,
    NAMELESS_MEMORY: _nameless_memory,
    SYSV_IDS: _sysv_ids,
    ENDED: _ended,
    RENAMED: _renamed,
    UNDONE: _undone,
    DESCRIPTORS: _descriptors,
    OF_THREAD: _of_thread,
    MEMFD: _memfd,
    TERMINALS: _terminals,
}
