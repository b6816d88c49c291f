"""What /proc shows of processes at a dump and after a restore, while they are frozen, and how the two differ.

Left out is what has to differ, or is not restored yet before the processes run: pids, times, memory sizes, blocked
signals, what leads outside through the standard streams. Uses the standard library alone.
"""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STREAMS = 3
_OF_PROCESS = (
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "Threads",
    "NoNewPrivs",
    "Seccomp",
    "ShdPnd",
    "SigIgn",
    "SigCgt",
    "VmLck",
)
_OF_THREAD = ("Name", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigPnd")
_PENDING = ("ShdPnd", "SigPnd")
_MAY_COME = "signals of timers"
"""The name of a value that is not compared: signals of timers, which run on while images are written and restored.

One that came after criu had asked for it is not pending after the restore, but its timer is, and sends it then.
"""
_INTERVAL_TIMERS = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)
_STOP = 1 << signal.SIGSTOP - 1 | 1 << signal.SIGCONT - 1
"""What waits until the processes run: the signal by which criu stops again what was stopped, and what others send."""
_OF_STAT = {"nice": 16, "real-time priority": 37, "scheduling policy": 38}
"""Fields of /proc/PID/stat, counted from the state."""
_COMPARED_FLAGS = (
    os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_SYNC | getattr(os, "O_CLOEXEC", 0) | os.O_NOATIME
)
HARMLESS = ("limit", "nice", "real-time priority", "scheduling policy", "oom_score_adj", "Name", "Groups", "VmLck")
"""How what cannot change what a program computes begins: priorities, names, locked memory, privileged limits."""


def snapshot(pids: Iterable[int]) -> dict[str, dict[str, str]]:
    """Return what /proc shows of each of PIDS: values by name."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            found[str(pid)] = dict(_items(pid))
    return found


def differences(was: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each value that differs, and a sentence about it; processes that are gone count for nothing."""
    for pid, values in was.items():
        for name, value in values.items() if pid in now else ():
            if not _is_same(name, value, now[pid]):
                yield name, f"process {pid}: {name} was {value!r}, and is {now[pid].get(name)!r} after the restore"


def _is_same(name: str, value: str, now: dict[str, str]) -> bool:
    if name == _MAY_COME:
        return True
    if not name.startswith(_PENDING) or name not in now:
        return now.get(name) == value
    before, after = int(value, 16), int(now[name], 16)
    return not (before ^ after) & ~int(now.get(_MAY_COME, "0"), 16)


def _items(pid: int) -> Iterator[tuple[str, str]]:
    if _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] in "ZX":
        # it has ended, and only its status is left
        return
    yield from _fields(f"/proc/{pid}/status", _OF_PROCESS, "")
    yield _MAY_COME, f"{_signals_of_timers(pid):016x}"
    for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):  # noqa: PTH208 - only names are needed
        mark = f" of thread {tid}"
        yield from _fields(f"/proc/{pid}/task/{tid}/status", _OF_THREAD, mark)
        fields = _text(f"/proc/{pid}/task/{tid}/stat").rpartition(")")[2].split()
        yield from ((f"{name}{mark}", fields[number]) for name, number in _OF_STAT.items())
    yield "oom_score_adj", _text(f"/proc/{pid}/oom_score_adj").strip()
    for line in _text(f"/proc/{pid}/limits").splitlines()[1:]:
        yield f"limit: {line[:25].strip()}", " ".join(line[25:].split()[:2])
    yield from _descriptors(pid)


def _fields(path: str, names: tuple[str, ...], mark: str) -> Iterator[tuple[str, str]]:
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        if name in _PENDING and name in names:
            yield f"{name}{mark}", f"{int(value, 16) & ~_STOP:016x}"
        elif name in names:
            yield f"{name}{mark}", " ".join(value.split())


def _signals_of_timers(pid: int) -> int:
    numbers = {int(number) for number in _INTERVAL_TIMERS}
    # there is no such file on some kernels
    with suppress(OSError):
        lines = _text(f"/proc/{pid}/timers").splitlines()
        numbers |= {int(line.split()[1].partition("/")[0]) for line in lines if line.startswith("signal:")}
    return sum(1 << number - 1 for number in numbers if number > 0)


def _descriptors(pid: int) -> Iterator[tuple[str, str]]:
    """Yield type, flags and position of each descriptor that does not lead where a standard stream does."""
    folder = Path(f"/proc/{pid}/fd")
    streams = {_target(folder / str(number)) for number in range(_STREAMS)}
    for number in sorted(int(name) for name in os.listdir(folder)):  # noqa: PTH208 - as above
        if number < _STREAMS or _target(folder / str(number)) in streams:
            continue
        with suppress(OSError, IndexError, ValueError):
            mode = (folder / str(number)).stat().st_mode
            info = _text(f"/proc/{pid}/fdinfo/{number}")
            flags = int(info.partition("flags:")[2].split()[0], 8) & _COMPARED_FLAGS
            position = info.partition("pos:")[2].split()[0] if stat.S_ISREG(mode) else "none"
            yield f"descriptor {number}", f"type {stat.S_IFMT(mode):o}, flags {flags:o}, position {position}"


def _target(link: Path) -> str:
    with suppress(OSError):
        return os.readlink(link)
    return ""


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")
