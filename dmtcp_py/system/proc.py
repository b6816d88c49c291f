"""Processes as /proc shows them: which exist, since when, and which files they hold. Only reads."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAPS_FIELDS = 6
_SOCKET = "socket:["
SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - the kernel's path of shared memory
DELETED = " (deleted)"
"""What the kernel appends to the path of a file that was deleted."""


def process_tree(pid: int) -> list[tuple[int, float]]:
    """Return process PID and its descendants as (pid, start in clock ticks since boot), PID first."""
    import psutil  # noqa: PLC0415 - importing it takes 19 ms, which a start of a program does not need

    try:
        root = psutil.Process(pid)
        found = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    started = [(process.pid, started_at(process.pid)) for process in found]
    return [(member, start) for member, start in started if start is not None]


def processes_below(root: int) -> list[int]:
    """Return the pids of process ROOT and its descendants, of dead ones too, from the lists of the kernel alone."""
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - only names are needed
        if name.isdecimal():
            with suppress(OSError):
                parents[int(name)] = parent_of(int(name))
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def parent_of(pid: int) -> int:
    """Return the parent of process PID; raise OSError if there is no such process."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def resident_bytes(pid: int) -> int:
    """Return the total resident size of PID and its descendants, with shared pages counted once for each process."""
    import psutil  # noqa: PLC0415 - as above

    total = 0
    for member, _ in process_tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(member).memory_info().rss
    return total


def boot_id() -> str:
    """Return a text that is different for each boot of each machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return os.uname().nodename


def started_at(pid: int) -> float | None:
    """Return when process PID started, in clock ticks since boot; None if it does not exist or has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else float(fields[19])


def state_of(pid: int) -> str | None:
    """Return the letter for the state of process PID in proc(5), such as ``T`` for stopped; None if it is gone."""
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat[stat.rindex(")") + 2]
    return None


def age_s(pid: int) -> float | None:
    """Return how long process PID has been running, in seconds; None if it does not exist or has ended."""
    ticks = started_at(pid)
    return None if ticks is None else time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def command_of(pid: int) -> tuple[list[str], int]:
    """Return the command line of process PID and the pid of its parent; an empty list and 0 if it does not exist."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        parent = parent_of(pid)
    except OSError:
        return [], 0
    return [os.fsdecode(word) for word in words], parent


def name_of(pid: int) -> str:
    """Return the name of the program in the command line of process PID; ``?`` if the process does not exist."""
    words = command_of(pid)[0]
    return Path(words[0]).name if words else "?"


def files_open_for_update(pid: int, *, but_in: Path) -> list[str]:
    """Return the files that PID and its descendants may both write and read: open for both, or mapped shared.

    Files below BUT_IN, and everything that is not a file on a disk, are left out.
    """
    found = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            found |= {*_open_for_update(member), *_mapped_shared(member)}
    return sorted(path for path in found if _is_on_disk(path) and not Path(path).is_relative_to(but_in))


def files_mapped(pid: int) -> set[str]:
    """Return the files that PID and its descendants have mapped for writing. Their mtimes do not show every write."""
    found: set[str] = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            found.update(_mapped_shared(member))
    return found


def shared_memory(pid: int) -> tuple[set[str], set[str]]:
    """Return the files in /dev/shm that PID and its descendants have mapped: those that exist, and deleted ones."""
    named: set[str] = set()
    unnamed: set[str] = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            for path in _mapped_shared(member):
                if path.startswith(SHARED_MEMORY):
                    (unnamed if path.endswith(DELETED) else named).add(path.removesuffix(DELETED))
    return named, unnamed


def users_of(path: str) -> list[int]:
    """Return the pids of the processes that have PATH mapped, among those that this user may inspect."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - only names are needed
        with suppress(OSError):
            if entry.isdecimal() and path in {mapped.removesuffix(DELETED) for mapped in _mapped_shared(int(entry))}:
                found.append(int(entry))
    return found


def open_descriptors(pid: int) -> Iterator[tuple[Path, str, int]]:
    """Yield the path in /proc, the target and the flags of each open descriptor of process PID."""
    folder = Path(f"/proc/{pid}/fd")
    for entry in os.listdir(folder):  # noqa: PTH208 - only names are needed
        with suppress(OSError):
            info = Path(f"/proc/{pid}/fdinfo/{entry}").read_text(encoding="ascii", errors="replace")
            flags = int(info.partition("flags:")[2].split()[0], 8)
            yield folder / entry, os.readlink(folder / entry), flags


def shared_writable_maps(pid: int) -> Iterator[tuple[str, str]]:
    """Yield the addresses and the path of each mapping of process PID that is shared and writable."""
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[1].startswith("rw-s"):
            yield fields[0], fields[5]


def sockets_of(pid: int) -> set[int]:
    """Return the inodes of the open sockets of process PID. Raises OSError if it does not exist."""
    folder = f"/proc/{pid}/fd"
    found = set()
    for entry in os.listdir(folder):  # noqa: PTH208 - only names are needed
        with suppress(OSError):
            target = os.readlink(f"{folder}/{entry}")
            if target.startswith(_SOCKET):
                found.add(int(target[len(_SOCKET) : -1]))
    return found


def _open_for_update(pid: int) -> Iterator[str]:
    for _, target, flags in open_descriptors(pid):
        if flags & os.O_ACCMODE == os.O_RDWR and not flags & os.O_APPEND:
            yield target


def _mapped_shared(pid: int) -> Iterator[str]:
    for _, path in shared_writable_maps(pid):
        yield path


def _is_on_disk(path: str) -> bool:
    return (
        path.startswith("/") and not path.startswith(("/dev/", "/proc/", "/SYSV", "/memfd:")) and Path(path).is_file()
    )
