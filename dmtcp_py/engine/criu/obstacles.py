"""What in a running program CRIU cannot checkpoint, or would restore as something else, by its true name.

Looked for from outside before each dump: criu either fails with a line about its own source, or says nothing at all.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.executable import LAUNCHES_ELSEWHERE, SCHEDULER_LAUNCHERS
from dmtcp_py.engine.kernel_state import namespace_of_its_own, tracer_of
from dmtcp_py.errors import BlockedError, CheckpointFailedError
from dmtcp_py.system.proc import name_of, process_tree

if TYPE_CHECKING:
    from collections.abc import Collection

_WITHOUT = "--allow-unprotected runs it without checkpoints"
_RING_HINT = "for libuv (torchrun), install dmtcp-py on a machine with a C compiler"
_ANONYMOUS = {
    "[io_uring]": ("uses io_uring, which CRIU cannot checkpoint", _RING_HINT),
    "[userfaultfd]": ("handles its own page faults (userfaultfd), which CRIU cannot checkpoint", ""),
    "[perf_event]": ("counts events of the processor (perf_event_open), which CRIU cannot checkpoint", ""),
    "[landlock-ruleset]": ("has an open ruleset of Landlock, which CRIU cannot checkpoint", ""),
    "kvm-vm": ("runs a virtual machine (KVM), which CRIU cannot checkpoint", ""),
}
"""Descriptors without a file, by what the kernel calls them."""
_FLAGS = re.compile(r"flags:\s*([0-7]+)")
_SEMAPHORE = re.compile(r"^eventfd-semaphore:\s*1", re.MULTILINE)
_QUEUE_NAME = re.compile(r"/[^/]+")
_MQUEUE_MAGIC = 0x19800202
_STATFS_BYTES = 256


def refuse(root: int) -> None:
    """Raise BlockedError if ROOT or a descendant has what CRIU cannot checkpoint."""
    members = [pid for pid, _ in process_tree(root)]
    for pid in members:
        # a process may end while it is looked at
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if (found := _launches_elsewhere(pid) or _of_process(pid, root)) is not None:
                what, hint = found
                raise BlockedError(f"process {pid} ({name_of(pid)}) {what}", hint)
            _refuse_traced(pid, members)


def _refuse_traced(pid: int, members: Collection[int]) -> None:
    """Raise BlockedError if another of the MEMBERS traces PID; if somebody else does, that is only for a while."""
    if not (tracer := tracer_of(pid)):
        return
    what = f"process {pid} ({name_of(pid)}) is traced by process {tracer} ({name_of(tracer)})"
    if tracer in members:
        raise BlockedError(f"{what}, and no engine can checkpoint it", _WITHOUT)
    raise CheckpointFailedError(what, "a checkpoint is possible once the tracer has left it", program_lives=True)


def _launches_elsewhere(pid: int) -> tuple[str, str] | None:
    """Find a launcher of the scheduler, whose processes no image would contain."""
    if name_of(pid) not in SCHEDULER_LAUNCHERS:
        return None
    return LAUNCHES_ELSEWHERE, f"use mpirun on one node instead; {_WITHOUT}"


def _of_process(pid: int, root: int) -> tuple[str, str] | None:
    if (kind := namespace_of_its_own(pid, root)) is not None:
        return f"is in its own {kind} namespace, which no engine restores", _WITHOUT
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):  # noqa: PTH208 - only names are needed
        # a descriptor may be closed while it is looked at
        with suppress(FileNotFoundError):
            if (found := _of_descriptor(folder / name)) is not None:
                return found
    return None


def _of_descriptor(place: Path) -> tuple[str, str] | None:
    target = os.readlink(place)
    kind = target.removeprefix("anon_inode:")
    if kind in _ANONYMOUS and kind != target:
        return _ANONYMOUS[kind]
    if kind == "[eventfd]" or target.startswith("pipe:"):
        info = Path(str(place).replace("/fd/", "/fdinfo/")).read_text(encoding="ascii", errors="replace")
        if (flags := _FLAGS.search(info)) and target.startswith("pipe:") and int(flags[1], 8) & os.O_DIRECT:
            return "has a pipe of packets (O_DIRECT), which CRIU cannot checkpoint", ""
        if _SEMAPHORE.search(info):
            return "has an eventfd that counts down one by one (EFD_SEMAPHORE), which CRIU forgets", ""
    if _QUEUE_NAME.fullmatch(target) and _is_message_queue(place):
        return f"has the POSIX message queue {target} open, which CRIU cannot checkpoint", ""
    return None


def _is_message_queue(place: Path) -> bool:
    """Return whether an open file is in the kernel's file system of message queues, which need not be mounted."""
    if not stat.S_ISREG(place.stat().st_mode):
        return False
    # the first word of what statfs(2) writes is the type of the file system
    reply = (ctypes.c_long * _STATFS_BYTES)()
    return ctypes.CDLL(None).statfs(os.fsencode(place), reply) == 0 and reply[0] == _MQUEUE_MAGIC
