"""What a computation mounts in its namespace: a /dev/shm, which goes into the images, and pseudo-terminals."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dmtcp_py.system import libc

SHM = "/dev/shm"  # noqa: S108 - the computation's own
_PTS = "/dev/pts"
_MS_NOSUID, _MS_NOSUID_NODEV = 2, 6
_OWNER = re.compile(rb"(uid|gid)=([0-9]+)")


def mount_shm() -> None:
    """Mount a private /dev/shm of the size of the one before."""
    size = os.statvfs(SHM)
    options = f"mode=1777,size={size.f_blocks * size.f_frsize}".encode()
    libc.call("mount", b"tmpfs", SHM.encode(), b"tmpfs", _MS_NOSUID_NODEV, options)


def mount_pts() -> None:
    """Mount private pseudo-terminals with the options of those before, unless there are none."""
    # as bytes: a mount point may have any name
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n") if line]
    pts = [mount for mount in mounts if mount[4] == _PTS.encode()]
    if pts:
        words = [word for word in pts[-1][-1].removeprefix(b"rw,").split(b",") if is_allowed(word)]
        libc.call("mount", b"devpts", _PTS.encode(), b"devpts", _MS_NOSUID, b",".join([*words, b"ptmxmode=666"]))


def is_allowed(option: bytes) -> bool:
    """Return whether a mount OPTION names no user or group without a number in this user namespace (EINVAL)."""
    found = _OWNER.fullmatch(option)
    return found is None or _is_mapped(found[1].decode(), int(found[2]))


def _is_mapped(kind: str, number: int) -> bool:
    for line in Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines():
        inside, _, count = map(int, line.split())
        if inside <= number < inside + count:
            return True
    return False
