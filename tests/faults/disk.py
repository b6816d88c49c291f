"""A disk that keeps a log of all that is written to it and of each flush, so that its power can be cut at any moment.

It is a file of a FUSE file system that this process serves, with a loop device on it: what the file system on that
device sends to its disk arrives here in the order in which it was sent. After a cut, the disk has all that was written
before the last flush that was complete, and any part of what was written since. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SECTOR = 512
_LOOKUP, _FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _RELEASE, _FSYNC, _FLUSH, _INIT = (
    1, 2, 3, 4, 14, 15, 16, 18, 20, 25, 26,
)  # fmt: skip
_WITHOUT_ANSWER = {_FORGET, 42}
_HEADER = struct.Struct("<IIQQIIII")
_MOST_BYTES = 1 << 20
_ENOSYS, _ENOENT = 38, 2
_NAME = b"disk"


class Written(NamedTuple):
    """What was sent to the disk: some bytes, or where there are none, a flush."""

    at: int
    data: bytes


class LoggedDisk:
    """A disk of SIZE bytes below FOLDER; its log begins once it is `opened`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.log: list[Written] = []
        self.mounted_at = folder / "device"
        self.content = folder / "content"
        self.content.touch()
        os.truncate(self.content, size)

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Serve the disk, and yield the path of its one file."""
        self.mounted_at.mkdir(exist_ok=True)
        fuse, self._file = os.open("/dev/fuse", os.O_RDWR), os.open(self.content, os.O_RDWR)
        options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,max_read={_MOST_BYTES}".encode()
        place = os.fsencode(self.mounted_at)
        if ctypes.CDLL(None, use_errno=True).mount(b"dmtcp-run-disk", place, b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        thread = threading.Thread(target=self._serve, args=(fuse,), daemon=True)
        thread.start()
        try:
            yield self.mounted_at / "disk"
        finally:
            subprocess.run(["umount", "--lazy", self.mounted_at], check=True)
            thread.join(LONG_S)
            os.close(fuse)
            os.close(self._file)

    def _serve(self, fuse: int) -> None:
        while True:
            try:
                request = os.read(fuse, _MOST_BYTES + 8192)
            except OSError:
                return
            _, call, unique, node, *_ = _HEADER.unpack_from(request)
            answer = self._answer(call, node, request[_HEADER.size :])
            if call not in _WITHOUT_ANSWER:
                error, data = (-answer, b"") if isinstance(answer, int) else (0, answer)
                with suppress(OSError):
                    os.write(fuse, struct.pack("<IiQ", 16 + len(data), error, unique) + data)

    def _answer(self, call: int, node: int, body: bytes) -> bytes | int:
        """Return the answer to a CALL, or the number of an error."""
        if call == _INIT:
            most = _MOST_BYTES // 4096
            flags = 1 << 5 | 1 << 22  # big writes, and as many pages as are named
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, flags, 12, 12, _MOST_BYTES, 1, most, 0, 0)
        if call == _LOOKUP:
            return struct.pack("<QQQQII", 2, 0, 9, 9, 0, 0) + self._attributes(2) if body == _NAME + b"\0" else _ENOENT
        if call in (_GETATTR, _SETATTR):
            return struct.pack("<QII", 9, 0, 0) + self._attributes(node)
        if call == _OPEN:
            return struct.pack("<QII", 0, 1 if node == 2 else 0, 0)  # 1: no page cache between
        if call == _READ:
            _, at, size = struct.unpack_from("<QQI", body)
            return os.pread(self._file, size, at)
        if call == _WRITE:
            _, at, size = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + size]
            os.pwrite(self._file, data, at)
            self.log.append(Written(at, data))
            return struct.pack("<II", size, 0)
        if call == _FSYNC:
            self.log.append(Written(0, b""))
            return b""
        return b"" if call in (_FLUSH, _RELEASE) else _ENOSYS

    def _attributes(self, node: int) -> bytes:
        mode, size = (0o100600, self.size) if node == 2 else (0o040700, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // SECTOR, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def cut(self, base: Path, target: Path, moment: int, chosen: random.Random) -> None:
        """Write to TARGET what is on the disk if the power is cut after MOMENT entries of the log; BASE was before."""
        subprocess.run(["cp", "--sparse=always", base, target], check=True, timeout=LONG_S)
        flushes = [number for number, written in enumerate(self.log[:moment]) if not written.data]
        sure = flushes[-1] if flushes else 0
        with target.open("r+b") as file:
            for number, written in enumerate(self.log[:moment]):
                data = written.data
                if number >= sure and data:
                    data = _part_of(data, chosen)
                os.pwrite(file.fileno(), data, written.at)


def _part_of(data: bytes, chosen: random.Random) -> bytes:
    """Return all of DATA, nothing of it, or some sectors from its beginning."""
    how = chosen.random()
    if how < 0.4:
        return data
    return b"" if how < 0.8 else data[: chosen.randrange(len(data) // SECTOR + 1) * SECTOR]


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount IMAGE, with an ext4 on it, at PLACE by a loop device."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True, timeout=LONG_S)
    try:
        yield place
    finally:
        wait_until(lambda: subprocess.run(["umount", place], capture_output=True, check=False).returncode == 0)


def why_not() -> str:
    """Return why no such disk can be had here; nothing if it can."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        return "mounting a file system of our own needs root, FUSE and loop devices"
    return "" if shutil.which("mkfs.ext4") else "there is no mkfs.ext4"
