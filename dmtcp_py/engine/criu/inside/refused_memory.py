"""Memory that CRIU cannot restore, or not without privileges: files in memory, and System V objects with odd numbers.

Uses the standard library alone.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from dmtcp_py.engine.criu.inside.refusal import Refusal
from dmtcp_py.system import libc
from dmtcp_py.system.proc import DELETED, open_descriptors

COMPILER = "install dmtcp-py on a machine with a C compiler"
_MAPS_FIELDS = 6
_MEMFD = "/memfd:"
_F_SEAL_FUTURE_WRITE = 0x10
"""In linux/fcntl.h from 5.1 on; Python names it from 3.13 on."""
_CLONE_NEWIPC = 0x08000000
_SYSV = Path("/proc/sysvipc")
_NEXT_ID = Path("/proc/sys/kernel/shm_next_id")


def memfd(pid: int, _init: int) -> Refusal | None:
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


def nameless(pid: int, _init: int) -> Refusal | None:
    """Find a mapped file without a name, such as a memfd; the library for criu finds its descriptor."""
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[5].startswith("/") and fields[5].endswith(DELETED):
            path = fields[5].removesuffix(DELETED)
            return Refusal(
                f"has mapped {path}, a file without a name, which CRIU without privileges would restore wrongly",
                COMPILER,
            )
    return None


def sysv_ids(pid: int, init: int) -> Refusal | None:
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
