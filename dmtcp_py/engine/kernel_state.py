"""What the kernel alone knows of a process, and no engine sees from inside: its tracer, its filters, its namespaces.

Reads /proc. Whether an engine can checkpoint it is the engine's to say.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_TRACER = r"(?m)^TracerPid:\s*(\d+)$"
_SECCOMP = r"(?m)^Seccomp:\s*(\d+)$"
_FILTERS = r"(?m)^Seccomp_filters:\s*(\d+)$"
_NAMESPACES = {
    "user": "user",
    "mnt": "mount",
    "pid": "PID",
    "net": "network",
    "ipc": "IPC",
    "uts": "UTS",
    "cgroup": "cgroup",
    "time": "time",
}
"""The kinds of namespaces by their names in /proc, and what namespaces(7) calls them; the most telling one first."""


def status_of(pid: int) -> str:
    """Return what /proc has as the status of process PID; nothing if the process does not exist."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return ""


def tracer_of(pid: int) -> int:
    """Return the pid of the process that traces PID, as debuggers and strace do; 0 if none does."""
    return _number(_TRACER, status_of(pid))


def is_filtered(pid: int) -> bool:
    """Return whether process PID has restricted its system calls (seccomp) beyond those of this process."""
    mine, its = (status_of(one) for one in (os.getpid(), pid))
    return (_number(_SECCOMP, its), _number(_FILTERS, its)) > (_number(_SECCOMP, mine), _number(_FILTERS, mine))


def namespace_of_its_own(pid: int, than: int) -> str | None:
    """Return the kind of a namespace in which process PID is and process THAN is not; None if there is none."""
    for entry, name in _NAMESPACES.items():
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/{entry}") != os.readlink(f"/proc/{than}/ns/{entry}"):
                return name
    return None


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0
