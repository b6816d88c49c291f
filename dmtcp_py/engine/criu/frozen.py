"""What criu runs while every process of the computation is still frozen: look at its open files, copy what must be.

Run by path, with the standard library alone, inside the computation's namespaces. An image holds no file's content:
each regular file that is open for writing is listed with its size, and those whose old content the program may read
back (open for reading and writing, or mapped) are copied. `dmtcp_py.engine.rollback` puts it all back.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_COPIED_BYTES = 64 << 20
FILES = "files.json"
SHM = "/dev/shm"  # noqa: S108 - the computation's own
WATCHER = "/native/files."
LEAST_PID = 300
"""Below it are the keeper, criu and this."""
_TAIL_BYTES = 1 << 16
_TOOL_S = 3600
_ELF_64 = 2
_MOST_NAMES = 1 << 16
_MAPS_FIELDS = 6
_ESTABLISHED = "01"
_NET_FIELDS = 10
"""Of a line in /proc/net/tcp, up to the inode."""
_NOT_FILES = ("/SYSV", "/memfd:", "/dev/zero")
_DELETED = " (deleted)"

Key = tuple[int, int]


def main(images: Path, *, covers_shm: bool, notes: str) -> None:
    """Write the list of files, and the copies, into IMAGES; with COVERS_SHM also all of /dev/shm.

    NOTES: the folder in which what is loaded into the processes notes what they do to files by their names, if any.
    """
    files: dict[Key, dict[str, Any]] = {}
    but_in = (*_NOT_FILES, f"{SHM}/") if covers_shm else _NOT_FILES
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) >= LEAST_PID]  # noqa: PTH208
    fifos: dict[str, int] = {}
    for pid in pids:
        fifos |= _fifos_of(pid, but_in)
        for place, flags in _open_for_writing(pid, but_in):
            _note(files, images, place, is_read=flags & os.O_ACCMODE == os.O_RDWR and not flags & os.O_APPEND)
        for place in _mapped_for_writing(pid, but_in):
            _note(files, images, place, is_read=True, is_mapped=True)
    if covers_shm:
        # names too: of the links that criu makes for files without one, among others
        pack = ["tar", "--create", "--sparse", "--file", str(images / "shm.tar"), "-C", SHM, "."]
        subprocess.run(pack, check=True, timeout=_TOOL_S)
    paths = [Path(file["path"]) for file in files.values()] + [Path(name) for name in fifos]
    look = {
        "files": list(files.values()),
        "fifos": fifos,
        "folders": _modes({folder for path in paths for folder in path.parents}),
        "processes": len(pids),
        "unwatched": sorted({_name(pid) for pid in pids if notes and not _is_watched(pid, notes)}),
        **_connections(pids),
    }
    (images / FILES).write_text(json.dumps(look), encoding="utf-8")


def _open_for_writing(pid: int, but_in: tuple[str, ...]) -> list[tuple[Path, int]]:
    found = []
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(FileNotFoundError):
            info = Path(f"/proc/{pid}/fdinfo/{name}").read_text(encoding="ascii", errors="replace")
            flags = int(info.partition("flags:")[2].split()[0], 8)
            is_written = flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH
            if is_written and not os.readlink(folder / name).startswith(but_in):
                found.append((folder / name, flags))
    return found


def _mapped_for_writing(pid: int, but_in: tuple[str, ...]) -> list[Path]:
    """Return the files whose shared pages it can write: the image does not hold them, descriptor closed or not."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[1].startswith("rw-s") and not fields[5].startswith(but_in):
            found.append(Path(f"/proc/{pid}/map_files/{fields[0]}"))
    return found


def _fifos_of(pid: int, but_in: tuple[str, ...]) -> dict[str, int]:
    """Return the modes of the pipes with a name that it has open."""
    found = {}
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(FileNotFoundError):
            path = os.readlink(folder / name)
            if path.startswith("/") and not path.startswith(but_in) and not path.endswith(_DELETED):
                mode = (folder / name).stat().st_mode
                if stat.S_ISFIFO(mode):
                    found[path] = stat.S_IMODE(mode)
    return found


def _is_watched(pid: int, notes: str) -> bool:
    """Whether it notes what it does: it has what does that, calls the C library for it, and may write there."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    if not maps:
        return True
    owner = Path(notes).stat().st_uid
    is_allowed = owner == Path(f"/proc/{pid}").stat().st_uid and os.readlink(f"/proc/{pid}/root") == "/"
    return WATCHER in maps and is_allowed and not _is_go(Path(f"/proc/{pid}/exe"))


def _is_go(program: Path) -> bool:
    """Whether Go made it, which calls the kernel and not the C library, with C in it or not."""
    with suppress(OSError, struct.error), program.open("rb") as file:
        head = file.read(64)
        (table,) = struct.unpack_from("=Q", head, 40)
        size, count, names = struct.unpack_from("=HHH", head, 58)
        if head[4] != _ELF_64 or names >= count:
            return False
        file.seek(table + names * size)
        at, length = struct.unpack_from("=QQ", file.read(size), 24)
        file.seek(at)
        return b".go.buildinfo" in file.read(min(length, _MOST_NAMES))
    return False


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()


def _modes(folders: set[Path]) -> dict[str, int]:
    found = {}
    for folder in folders:
        with suppress(OSError):
            found[str(folder)] = stat.S_IMODE(folder.stat().st_mode)
    return found


def _connections(pids: list[int]) -> dict[str, Any]:
    """Return what PIDS have of TCP: the far ends outside of them, which no restore brings back, and their own ports."""
    own = {inode for pid in pids for inode in _sockets_of(pid)}
    ends: set[tuple[str, str]] = set()
    ports: set[int] = set()
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(f"/proc/{pids[0]}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                _, near, far, state, *_, inode = line.split()[:_NET_FIELDS]
                if inode in own:
                    ports.add(int(near.partition(":")[2], 16))
                    ends |= {(near, far)} if state == _ESTABLISHED else set()
    return {
        "outside": sorted({_readable(far) for near, far in ends if (far, near) not in ends}),
        "ports": sorted(ports),
    }


def _sockets_of(pid: int) -> list[str]:
    found = []
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(FileNotFoundError):
            target = os.readlink(f"{folder}/{name}")
            if target.startswith("socket:["):
                found.append(target[len("socket:[") : -1])
    return found


def _readable(end: str) -> str:
    """Return an address as people write it, from what /proc/net writes: words of 32 bits in the machine's order."""
    address, _, port = end.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return f"{socket.inet_ntop(family, b''.join(words))} port {int(port, 16)}"


def _note(
    files: dict[Key, dict[str, Any]], images: Path, place: Path, *, is_read: bool, is_mapped: bool = False
) -> None:
    found = place.stat()
    key = (found.st_dev, found.st_ino)
    path = os.readlink(place)
    is_deleted = found.st_nlink == 0 or path.endswith(_DELETED)
    if not stat.S_ISREG(found.st_mode) or is_deleted:
        return
    file = files.setdefault(
        key,
        {
            "path": path,
            "size": found.st_size,
            "device": found.st_dev,
            "inode": found.st_ino,
            "mode": stat.S_IMODE(found.st_mode),
            "tail": _tail(place, found.st_size),
            "copy": None,
            "is_read": False,
            "is_mapped": False,
        },
    )
    file["is_read"] |= is_read
    file["is_mapped"] |= is_mapped
    if is_read and file["copy"] is None:
        name = f"file-{len(files)}"
        if _copied(place, images / name, found.st_size):
            file["copy"] = name


def _copied(place: Path, target: Path, size: int) -> bool:
    """Copy a file if it is small or its file system shares blocks; return whether there is a copy."""
    for reflink in ("always", "auto"):
        if reflink == "auto" and size > MOST_COPIED_BYTES:
            return False
        copy = ["cp", "--dereference", f"--reflink={reflink}", "--sparse=auto", str(place), str(target)]
        done = subprocess.run(copy, check=False, timeout=_TOOL_S, capture_output=reflink == "always")
        if done.returncode == 0:
            return True
        target.unlink(missing_ok=True)
    raise OSError(f"{place} could not be copied")


def _tail(place: Path, size: int) -> str:
    """Return a hash of the last bytes, by which a file is known again that got another inode."""
    import hashlib  # noqa: PLC0415 - a few ms, that most computations need not be frozen for

    start = max(size - _TAIL_BYTES, 0)
    with suppress(OSError):
        fd = os.open(place, os.O_RDONLY)
        try:
            return hashlib.sha256(os.pread(fd, size - start, start)).hexdigest()
        finally:
            os.close(fd)
    return ""


if __name__ == "__main__" and os.environ.get("CRTOOLS_SCRIPT_ACTION") == "post-dump":
    main(Path(os.environ["CRTOOLS_IMAGE_DIR"]), covers_shm=sys.argv[1] == "1", notes=sys.argv[2])
    if sys.argv[2]:
        # what is done to files from now on was done after this image
        with suppress(FileNotFoundError):
            Path(sys.argv[2], "next").replace(Path(sys.argv[2], "now"))
