"""What a random program leaves: files, which are compared, and System V and POSIX objects, which are removed."""

from __future__ import annotations

import ctypes
import os
import stat
from contextlib import suppress
from pathlib import Path

_OWN_NAMES = {".dmtcp-run", "stderr.txt", "err.txt"}
"""What dmtcp-run and the bench keep in a program's folder."""
_OBJECTS = (Path("/dev/shm"), Path("/dev/mqueue"), Path("/tmp"))
_OF_CHANCE = "-journal"
"""How the name of a file ends in which SQLite writes random numbers."""
_KEYS = 5
_SEGMENTS = Path("/proc/sysvipc/shm")
_SIZES = {"12288", "20480"}
"""Those of the segments that random programs make."""
_IPC_RMID = 0
_SHOWN = 200


def difference(mine: Path, plain: Path) -> str:
    """Return the first way in which the files in MINE are not those in PLAIN; empty if there is none."""
    found, wanted = tree(mine), tree(plain)
    for name in sorted({*found, *wanted}):
        if name not in wanted:
            return f"{name} is there, and should not be"
        if name not in found:
            return f"{name} is missing"
        for what in found[name]:
            one, other = found[name][what], wanted[name].get(what)
            if one != other:
                return f"{what} of {name} {_how(one, other)}"
    return ""


def _how(one: object, other: object) -> str:
    if isinstance(one, bytes) and isinstance(other, bytes):
        pairs = enumerate(zip(one, other, strict=False))
        at = next((place for place, (this, that) in pairs if this != that), min(len(one), len(other)))
        return (
            f"differs from byte {at} of {len(one)}: {one[at:][:_SHOWN]!r}, not {other[at:][:_SHOWN]!r} of {len(other)}"
        )
    return f"is {one}, not {other}"


def tree(folder: Path) -> dict[str, dict[str, object]]:
    """Return what is in FOLDER, by name: kind and mode of each file, its links, and what it has."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0] not in _OWN_NAMES:
            found[str(path.relative_to(folder))] = _looks(path)
    return found


def _looks(path: Path) -> dict[str, object]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        return {"kind": "link", "target": os.path.relpath(target, path.parent) if target[:1] == "/" else target}
    looks: dict[str, object] = {"mode": oct(status.st_mode)}
    if stat.S_ISREG(status.st_mode):
        data = path.read_bytes()
        looks["number of names"] = status.st_nlink
        looks |= {"size": len(data)} if path.name.endswith(_OF_CHANCE) else {"content": data}
    return looks


def remove_objects(key: int) -> None:
    """Remove the objects that a program with this KEY has made."""
    for folder in _OBJECTS:
        for path in folder.glob(f"*random-{key}-*") if folder.is_dir() else ():
            with suppress(OSError):
                path.unlink()
    libc = ctypes.CDLL(None)
    for number in range(key, key + _KEYS):
        libc.shmctl(libc.shmget(number, 0, 0), _IPC_RMID, None)
        libc.msgctl(libc.msgget(number, 0), _IPC_RMID, None)
        libc.semctl(libc.semget(number, 0, 0), 0, _IPC_RMID, 0)
    for segment in _left_segments():
        libc.shmctl(segment, _IPC_RMID, None)


def _left_segments() -> list[int]:
    """Return the segments that killed random programs have left, which have other keys after a restart, or none."""
    rows = (line.split() for line in _SEGMENTS.read_text().splitlines()[1:]) if _SEGMENTS.exists() else ()
    return [
        int(shmid)
        for _, shmid, _, size, creator, _, attached, *_ in rows
        if size in _SIZES and attached == "0" and not Path(f"/proc/{creator}").exists()
    ]
