"""Gives a directory the path that it had before, for this process and what it starts.

Images of programs know files by their paths; a scheduler may move a job's directory all the same. So the directory is
mounted at the old path, in a mount namespace of this process's own; an ordinary user's belongs to a user namespace in
which all ids stay what they are. Nobody else sees any of it, and nothing remains of it but empty directories where the
user may make some. See mount_namespaces(7), user_namespaces(7) and pivot_root(2).
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.system import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 0x80000
_MNT_DETACH = 2
_PR_CAPBSET_DROP = 24
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOST_ENTRIES = 2000


def lead(old: Path, here: Path) -> None:
    """Have OLD lead to directory HERE. Raises OSError where the kernel does not allow it.

    The working directory has to be entered by its old path afterwards. After an error this process may be in a
    namespace of its own all the same.
    """
    _enter_namespace()
    _make(old)
    _bind(str(here), old)


def by_old_path(word: str, here: Path, old: Path) -> str:
    """Return WORD of a command line with the path OLD where it has HERE."""
    return re.sub(rf"(?<![\w./-]){re.escape(str(here))}(?=/|$)", lambda _: str(old), word)


def _enter_namespace() -> None:
    uid, gid, bound = os.geteuid(), os.getegid(), _bounding_set()
    try:
        libc.call("unshare", _CLONE_NEWNS)
    except PermissionError:
        libc.call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
        # what a new user namespace widens, and a program may look at
        wider = _bounding_set() & ~bound
        for number in (number for number in range(wider.bit_length()) if wider >> number & 1):
            libc.call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)
    libc.call("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)


def _bounding_set() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("\nCapBnd:")[2].split()[0], 16)


def _make(old: Path) -> None:
    """Have the directory OLD exist, in this namespace only where the user may not make it."""
    if old.is_dir():
        return
    above = next(folder for folder in old.parents if folder.is_dir())
    if not os.access(above, os.W_OK):
        _cover(above)
    old.mkdir(parents=True)


def _cover(folder: Path) -> None:
    """Replace FOLDER by one in memory with the same entries, to which some can be added."""
    if folder == Path("/"):
        _cover_root()
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        _mount_memory(folder)
        _copy_entries(f"/proc/self/fd/{fd}", folder)
    finally:
        os.close(fd)


def _cover_root() -> None:
    new = Path("/tmp")  # noqa: S108 - only mounted over: every machine has it, and its files remain visible
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    temporary = os.open(new, os.O_PATH | os.O_DIRECTORY)
    try:
        _mount_memory(new)
        _copy_entries(f"/proc/self/fd/{root}", new, but=new.name)
        (new / new.name).mkdir()
        _bind(f"/proc/self/fd/{temporary}", new / new.name)
        os.chdir(new)
        _pivot()
    finally:
        os.close(root)
        os.close(temporary)


def _pivot() -> None:
    # the new root is put over the old one, which is then taken away from under it
    libc.call("syscall", _PIVOT_ROOT[platform.machine()], b".", b".")
    libc.call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _mount_memory(folder: Path) -> None:
    libc.call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"mode=755,size=4m")


def _copy_entries(source: str, folder: Path, but: str = "") -> None:
    for entry in _entries(source):
        place = folder / entry.name
        if entry.name == but:
            continue
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry.path))
            continue
        if entry.is_dir():
            place.mkdir()
        else:
            place.touch()
        _bind(entry.path, place)


def _entries(source: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(source) as found:
        for number, entry in enumerate(found):
            if number == _MOST_ENTRIES:
                raise OSError(f"there are more than {_MOST_ENTRIES} entries in {os.readlink(source)}")
            yield entry


def _bind(source: str, place: Path) -> None:
    libc.call("mount", os.fsencode(source), os.fsencode(place), None, _MS_BIND | _MS_REC, None)
