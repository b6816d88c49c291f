"""What criu forgets of threads and processes: recorded at a dump while all are frozen, put back before any runs on.

`TABLE` has the attributes of a thread. Only what the program has set is kept: what is the same as in the root, which
dmtcp-run started, is left as the new attempt has it, for that may run on other processors, or with another priority.
Beside these, expired timers are armed again (`timers`), options of sockets are set again (`socket_options`), and the
last pid is kept, so that pids only rise, as is the personality, which criu hands down to what it restores. Uses the
standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dmtcp_py.engine.criu.inside import audit, socket_options, terminals, timers
from dmtcp_py.state import record
from dmtcp_py.system.proc import has_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "attributes.json"
SERIOUS = "! "
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_IOPRIO_GET_SET = {"x86_64": (252, 251), "aarch64": (31, 30), "ppc64le": (274, 273), "s390x": (283, 282)}
_IOPRIO_WHO_PROCESS = 1


class Attribute(NamedTuple):
    """Something that a thread has: its name, what reads it, and what sets it."""

    name: str
    get: Callable[[int], Any]
    put: Callable[[int, Any], None]


def _get_ioprio(tid: int) -> int:
    return _syscall(_IOPRIO_GET_SET[platform.machine()][0], _IOPRIO_WHO_PROCESS, tid)


def _put_ioprio(tid: int, value: int) -> None:
    _syscall(_IOPRIO_GET_SET[platform.machine()][1], _IOPRIO_WHO_PROCESS, tid, value)


def _syscall(*words: int) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    result = library.syscall(*(ctypes.c_long(word) for word in words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def _get_slack(tid: int) -> int:
    return int(Path(f"/proc/{tid}/timerslack_ns").read_text(encoding="ascii"))


def _put_slack(tid: int, value: int) -> None:
    Path(f"/proc/{tid}/timerslack_ns").write_text(str(value), encoding="ascii")


def _get_filter(tid: int) -> int:
    return int(Path(f"/proc/{tid}/coredump_filter").read_text(encoding="ascii"), 16)


def _put_filter(tid: int, value: int) -> None:
    Path(f"/proc/{tid}/coredump_filter").write_text(str(value), encoding="ascii")


TABLE = (
    Attribute("processor affinity", lambda tid: sorted(os.sched_getaffinity(tid)), os.sched_setaffinity),
    Attribute("I/O priority", _get_ioprio, _put_ioprio),
    Attribute("timer slack", _get_slack, _put_slack),
    Attribute("core dump filter", _get_filter, _put_filter),
)


def record_all(root: int, pids: Sequence[int], images: Path) -> None:
    """Write what the threads of PIDS have that ROOT, the first of them, has not, into IMAGES."""
    usual = _attributes_of(root)
    living = [pid for pid in pids if not has_ended(pid)]
    threads = {tid: _attributes_of(tid) for pid in pids for tid in _threads_of(pid)}
    found = {
        "threads": {tid: own for tid, has in threads.items() if (own := _different(has, usual))},
        "personalities": {pid: _personality_of(pid) for pid in living if pid != root},
        "sockets": [one for pid in living for one in socket_options.record(pid)],
        "timers": [timer for pid in living for timer in timers.expired(pid)],
        "last_pid": int(LAST_PID.read_text(encoding="ascii")),
    }
    record.write(images, audit.snapshot(pids))
    (images / NAME).write_text(json.dumps(found), encoding="ascii")


def read(images: Path) -> dict[str, Any]:
    """Return what was recorded; nothing for a generation of an older dmtcp-run."""
    with suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads((images / NAME).read_text(encoding="ascii"))
        return found
    return {}


def personality_in(recorded: dict[str, Any]) -> int:
    """Return the personality in which criu has to restore: that of all processes, or 0 if they have several."""
    values = set(recorded.get("personalities", {}).values())
    return int(values.pop()) if len(values) == 1 else 0


def put_back(recorded: dict[str, Any]) -> list[str]:
    """Put back what was RECORDED; return what could not be."""
    if recorded:
        # not allowed everywhere; the pids of new processes are only lower then
        with suppress(OSError):
            LAST_PID.write_text(str(recorded["last_pid"]), encoding="ascii")
    lost = [
        f"{attribute.name} of thread {tid}: {problem}"
        for tid, has in recorded.get("threads", {}).items()
        for attribute in TABLE
        if attribute.name in has and (problem := _problem_of(attribute, int(tid), has[attribute.name]))
    ]
    lost += timers.arm(recorded.get("timers", []))
    lost += socket_options.set_again(recorded.get("sockets", []))
    personalities = recorded.get("personalities", {})
    if personality_in(recorded) == 0:
        lost += [f"personality of process {pid}: criu knows only one" for pid, value in personalities.items() if value]
    return lost


def compare(was: record.Values) -> list[str]:
    """Return how the processes differ from what they WERE; what may change what they compute begins with SERIOUS."""
    found = audit.differences(was, audit.snapshot(map(int, was)))
    return [f"{'' if name.startswith(audit.HARMLESS) else SERIOUS}{text}" for name, text in found]


def _different(has: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in has.items() if usual.get(name) != value}


def _problem_of(attribute: Attribute, tid: int, value: Any) -> str:
    try:
        attribute.put(tid, value)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _attributes_of(tid: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if has_ended(tid):
        return found
    for attribute in TABLE:
        # an architecture may have no number for a call
        with suppress(OSError, KeyError):
            found[attribute.name] = attribute.get(tid)
    return found


def _threads_of(pid: int) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - only names are needed


def _personality_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/personality").read_text(encoding="ascii"), 16)
    return 0


def main(words: Sequence[str]) -> None:
    """Put back what was recorded beside the images of a restore; WORDS: the file for what could not be."""
    images = Path(os.environ["CRTOOLS_IMAGE_DIR"])
    recorded = read(images)
    # an older dmtcp-run kept both in one file
    was = record.read(images) or recorded.get("audit", {})
    terminals.put_back_modes(images, map(int, was))
    lost = [*put_back(recorded), *compare(was)]
    Path(words[0]).write_text("\n".join(lost), encoding="utf-8")
