"""What criu runs while every process of the computation is still frozen: look at its open files, copy what must be.

Run by path, with the standard library alone, inside the computation's namespaces. An image holds no file's content:
each regular file that is open for writing is listed with its size, and those whose old content the program may read
back (open for reading and writing, or mapped) are copied. `dmtcp_py.engine.criu.rollback` puts it all back.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_COPIED_BYTES = 64 << 20
FILES = "files.json"
LEAST_PID = 300
_TAIL_BYTES = 1 << 16
_TOOL_S = 3600
_MAPS_FIELDS = 6
_NOT_FILES = ("/SYSV", "/memfd:", "/dev/zero")
_DELETED = " (deleted)"

Key = tuple[int, int]


def main(images: Path, *, covers_shm: bool) -> None:
    """Write the list of files, and the copies, into IMAGES."""
    files: dict[Key, dict[str, Any]] = {}
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) >= LEAST_PID]  # noqa: PTH208
    for pid in pids:
        for place, flags in _open_for_writing(pid):
            _note(files, images, place, is_read=flags & os.O_ACCMODE == os.O_RDWR and not flags & os.O_APPEND)
        for place in _mapped_for_writing(pid):
            _note(files, images, place, is_read=True)
    if covers_shm:
        # names too: of the links that criu makes for files without one, among others
        pack = ["tar", "--create", "--sparse", "--file", str(images / "shm.tar"), "-C", "/dev/shm", "."]  # noqa: S108
        subprocess.run(pack, check=True, timeout=_TOOL_S)
    text = json.dumps({"files": list(files.values()), "processes": len(pids)})
    (images / FILES).write_text(text, encoding="utf-8")


def _open_for_writing(pid: int) -> list[tuple[Path, int]]:
    found = []
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(FileNotFoundError):
            info = Path(f"/proc/{pid}/fdinfo/{name}").read_text(encoding="ascii", errors="replace")
            flags = int(info.partition("flags:")[2].split()[0], 8)
            if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH:
                found.append((folder / name, flags))
    return found


def _mapped_for_writing(pid: int) -> list[Path]:
    """Return the files whose shared pages it can write: the image does not hold them, descriptor closed or not."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[1].startswith("rw-s") and not fields[5].startswith(_NOT_FILES):
            found.append(Path(f"/proc/{pid}/map_files/{fields[0]}"))
    return found


def _note(files: dict[Key, dict[str, Any]], images: Path, place: Path, *, is_read: bool) -> None:
    found = place.stat()
    key = (found.st_dev, found.st_ino)
    path = os.readlink(place)
    is_deleted = found.st_nlink == 0 or path.endswith(_DELETED)
    if not stat.S_ISREG(found.st_mode) or is_deleted or path.startswith(("/dev/shm/", *_NOT_FILES)):  # noqa: S108
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
        },
    )
    file["is_read"] |= is_read
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
    main(Path(os.environ["CRTOOLS_IMAGE_DIR"]), covers_shm=sys.argv[1] == "1")
