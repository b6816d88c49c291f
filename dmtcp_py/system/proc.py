"""Processes as /proc shows them: which exist, since when, and which files they hold. Only reads."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAPS_FIELDS = 6
_SOCKET = "socket:["
SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - the kernel's path of shared memory
DELETED = " (deleted)"
"""What the kernel appends to the path of a file that was deleted."""


class _Stat(NamedTuple):
    """What ``/proc/PID/stat`` says of a process: proc(5)."""

    state: str
    parent: int
    started: float
    """In clock ticks since boot."""

    @property
    def has_ended(self) -> bool:
        return self.state in "ZX"


def process_tree(*roots: int) -> list[tuple[int, float]]:
    """Return the processes ROOTS and their descendants as (pid, start in clock ticks since boot), ROOTS first.

    Without those that have ended and are there only to be waited for.
    """
    every = _every_process()
    found = [pid for pid in roots if pid in every]
    children: dict[int, list[int]] = {}
    for member, its in every.items():
        # a parent that is younger has the number of one that is gone
        if its.parent in every and every[its.parent].started <= its.started:
            children.setdefault(its.parent, []).append(member)
    for member in found:
        found += children.get(member, ())
    return [(member, every[member].started) for member in found if not every[member].has_ended]


def processes_below(root: int) -> list[int]:
    """Return the pids of process ROOT and its descendants, of dead ones too, from the lists of the kernel alone."""
    parents = {pid: its.parent for pid, its in _every_process().items()}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def parent_of(pid: int) -> int:
    """Return the parent of process PID; raise OSError if there is no such process."""
    return _stat(pid).parent


def resident_bytes(pid: int) -> int:
    """Return the total resident size of PID and its descendants, with shared pages counted once for each process."""
    pages = 0
    for member, _ in process_tree(pid):
        with suppress(OSError):
            pages += int(Path(f"/proc/{member}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _every_process() -> dict[int, _Stat]:
    """Return all processes of this machine, of dead ones too that nobody has waited for, by number."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - only names are needed
        if name.isdecimal():
            with suppress(OSError):
                found[int(name)] = _stat(int(name))
    return found


def _stat(pid: int) -> _Stat:
    """Return what the kernel says of process PID; raise OSError if there is no such process."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - read for each process of the machine
        text = file.read()
    # the name before the last bracket may hold any byte, brackets and spaces too
    fields = text[text.rindex(b")") + 2 :].split()
    return _Stat(fields[0].decode("ascii"), int(fields[1]), float(fields[19]))


def pid_namespace() -> int:
    """Return the number of the namespace in which this process's pids count; 0 where the kernel does not say."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def boot_id() -> str:
    """Return a text that is different for each boot of each machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return os.uname().nodename


def started_at(pid: int) -> float | None:
    """Return when process PID started, in clock ticks since boot; None if it does not exist or has ended."""
    with suppress(OSError):
        its = _stat(pid)
        return None if its.has_ended else its.started
    return None


def state_of(pid: int) -> str | None:
    """Return the letter for the state of process PID in proc(5), such as ``T`` for stopped; None if it is gone."""
    with suppress(OSError):
        return _stat(pid).state
    return None


def has_ended(pid: int) -> bool:
    """Whether process PID is gone, or is there only to be waited for: it has no files and no memory then."""
    return state_of(pid) in (None, "Z", "X")


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


class OpenFiles(NamedTuple):
    """The files on disks that processes have open, all found in one look."""

    for_update: list[str]
    """Those that they can read back, too, and write anywhere, sorted."""
    for_writing: set[str]
    """All of them, in whatever way they are open."""
    mapped: set[str]
    """Those that they have mapped for writing. Their mtimes do not show every write."""
    for_reading: dict[str, str]
    """Those that they only read, each with a descriptor in /proc that has it open."""
    nameless: set[tuple[str, int]]
    """The name that each file without a name was opened or mapped by, and its inode."""


def files_open(pid: int, *, but_in: Path | None = None) -> OpenFiles:
    """Return the files that PID and its descendants have open; in `for_update` none below BUT_IN."""
    update: set[str] = set()
    writing: set[str] = set()
    mapped: set[str] = set()
    reading: dict[str, str] = {}
    nameless: set[tuple[str, int]] = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            for place, target, flags in open_descriptors(member):
                mode = flags & os.O_ACCMODE
                if target.endswith(DELETED):
                    with suppress(OSError):
                        nameless.add((target.removesuffix(DELETED), place.stat().st_ino))
                if mode == os.O_RDONLY and not flags & os.O_PATH:
                    reading[target] = str(place)
                if mode == os.O_RDONLY or not target.startswith("/"):
                    continue
                with suppress(OSError):
                    writing.add(name := _name_now(place, target))
                    if mode == os.O_RDWR and not flags & os.O_APPEND:
                        update.add(name)
        with suppress(OSError):
            for path, inode in _mapped_shared(member):
                mapped.add(path)
                if path.endswith(DELETED):
                    nameless.add((path.removesuffix(DELETED), inode))
    on_disk = {path for path in writing | mapped if _is_on_disk(path)}
    return OpenFiles(
        for_update=sorted(
            path for path in (update | mapped) & on_disk if but_in is None or but_in not in Path(path).parents
        ),
        for_writing=on_disk,
        mapped=mapped,
        for_reading={path: place for path, place in reading.items() if path not in on_disk and _is_on_disk(path)},
        nameless=nameless,
    )


def shared_memory(pid: int) -> tuple[set[str], set[str]]:
    """Return the files in /dev/shm that PID and its descendants have mapped: those that exist, and deleted ones."""
    named: set[str] = set()
    unnamed: set[str] = set()
    for member, _ in process_tree(pid):
        with suppress(OSError):
            for path, _ in _mapped_shared(member):
                if path.startswith(SHARED_MEMORY):
                    (unnamed if path.endswith(DELETED) else named).add(path.removesuffix(DELETED))
    return named, unnamed


def users_of(path: str) -> list[int]:
    """Return the pids of the processes that have PATH mapped, among those that this user may inspect."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - only names are needed
        with suppress(OSError):
            if entry.isdecimal() and path in {mapped.removesuffix(DELETED) for mapped, _ in _mapped_shared(int(entry))}:
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


def names_left(place: Path) -> list[Path] | None:
    """Return the names in its folder of the file at PLACE, a descriptor in /proc, if the one it was opened by is gone.

    None if that is still there, and if the file has no name anywhere.
    """
    target = os.readlink(place)
    found = place.stat()
    if not target.endswith(DELETED) or not stat.S_ISREG(found.st_mode) or found.st_nlink == 0:
        return None
    names = []
    with suppress(OSError), os.scandir(Path(target).parent) as entries:
        names = [Path(entry.path) for entry in entries if entry.inode() == found.st_ino]
    return [name for name in names if name.lstat().st_dev == found.st_dev]


def shared_writable_maps(pid: int) -> Iterator[tuple[str, str, int]]:
    """Yield the addresses, the path and the inode of each mapping of process PID that is shared and writable."""
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[1].startswith("rw-s"):
            yield fields[0], fields[5], int(fields[4])


def mapped_files(pid: int) -> Iterator[tuple[str, bool]]:
    """Yield each path that process PID has mapped, and whether it has code of it mapped."""
    is_code: dict[str, bool] = {}
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[5].startswith("/"):
            is_code[fields[5]] = is_code.get(fields[5], False) or "x" in fields[1]
    yield from is_code.items()


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


def _name_now(place: Path, target: str) -> str:
    """Return another name in its folder for what TARGET, the descriptor PLACE, was opened by, if that name is gone."""
    names = names_left(place) if target.endswith(DELETED) else None
    return str(names[0]) if names else target


def _mapped_shared(pid: int) -> Iterator[tuple[str, int]]:
    for _, path, inode in shared_writable_maps(pid):
        yield path, inode


def _is_on_disk(path: str) -> bool:
    """Whether PATH is a regular file on a disk that this user can reach: one that was passed on open need not be."""
    is_elsewhere = not path.startswith("/") or path.startswith(("/dev/", "/proc/", "/SYSV", "/memfd:"))
    return not is_elsewhere and os.path.isfile(path)  # noqa: PTH113 - no error where others may not look
