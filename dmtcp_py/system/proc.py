"""What the kernel tells of processes: which there are, since when, what they hold. Only looks; signals nobody."""

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
SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - the kernel's name for it
DELETED = " (deleted)"
"""What the kernel adds to the name of a file that has none any more."""


def process_tree(pid: int) -> list[tuple[int, float]]:
    """Return process PID and its descendants as (pid, start in clock ticks since boot), PID first."""
    import psutil  # noqa: PLC0415 - 19 ms that a start of a program need not wait for

    try:
        root = psutil.Process(pid)
        found = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    started = [(process.pid, started_at(process.pid)) for process in found]
    return [(member, start) for member, start in started if start is not None]


def resident_bytes(pid: int) -> int:
    """Return the resident sizes of PID and its descendants added up, shared pages counted each time."""
    import psutil  # noqa: PLC0415 - as above

    total = 0
    for member, _ in process_tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(member).memory_info().rss
    return total


def boot_id() -> str:
    """Return what differs with each boot of each machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return os.uname().nodename


def started_at(pid: int) -> float | None:
    """Return when process PID started, in clock ticks since boot; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else float(fields[19])


def age_s(pid: int) -> float | None:
    """Return for how long process PID has run, in seconds; None where there is no such process."""
    ticks = started_at(pid)
    return None if ticks is None else time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def command_of(pid: int) -> tuple[list[str], int]:
    """Return the words of process PID's command line and the pid of its parent; nothing and 0 where it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [], 0
    return [os.fsdecode(word) for word in words], int(stat[stat.rindex(")") + 2 :].split()[1])


def name_of(pid: int) -> str:
    """Return the name of the program that process PID runs, by its command line; ``?`` where it is gone."""
    words = command_of(pid)[0]
    return Path(words[0]).name if words else "?"


def files_open_for_update(pid: int, *, but_in: Path) -> list[str]:
    """Return the files that PID and its descendants may read back what they write: open for both, or mapped shared.

    Those below BUT_IN are left out, and what is no file on a disk.
    """
    found = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            found |= {*_open_for_update(member), *_mapped_shared(member)}
    return sorted(path for path in found if _is_on_disk(path) and not Path(path).is_relative_to(but_in))


def files_mapped(pid: int) -> set[str]:
    """Return the files that PID and its descendants can write through shared memory; their times tell nothing."""
    found: set[str] = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            found.update(_mapped_shared(member))
    return found


def shared_memory(pid: int) -> tuple[set[str], set[str]]:
    """Return the files in /dev/shm that PID and its descendants share: those with a name, and those without one now."""
    named: set[str] = set()
    unnamed: set[str] = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            for path in _mapped_shared(member):
                if path.startswith(SHARED_MEMORY):
                    (unnamed if path.endswith(DELETED) else named).add(path.removesuffix(DELETED))
    return named, unnamed


def users_of(path: str) -> list[int]:
    """Return the processes that have PATH mapped, as far as they can be seen."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):
            if entry.isdecimal() and path in {mapped.removesuffix(DELETED) for mapped in _mapped_shared(int(entry))}:
                found.append(int(entry))
    return found


def open_descriptors(pid: int) -> Iterator[tuple[Path, str, int]]:
    """Yield for each descriptor of process PID its place in /proc, what it leads to, and its flags."""
    folder = Path(f"/proc/{pid}/fd")
    for entry in os.listdir(folder):  # noqa: PTH208 - only names are wanted
        with suppress(OSError):
            info = Path(f"/proc/{pid}/fdinfo/{entry}").read_text(encoding="ascii", errors="replace")
            flags = int(info.partition("flags:")[2].split()[0], 8)
            yield folder / entry, os.readlink(folder / entry), flags


def shared_writable_maps(pid: int) -> Iterator[tuple[str, str]]:
    """Yield the addresses and the path of each file that process PID has mapped shared and can write."""
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[1].startswith("rw-s"):
            yield fields[0], fields[5]


def sockets_of(pid: int) -> set[int]:
    """Return the inodes of the sockets that process PID holds. Raises OSError if it is gone."""
    folder = f"/proc/{pid}/fd"
    found = set()
    for entry in os.listdir(folder):  # noqa: PTH208 - only names are wanted
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
