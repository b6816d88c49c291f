"""How a process ended, from a descriptor of it (pidfd_open(2)), after another process has reaped it."""

from __future__ import annotations

import fcntl
import struct

# struct pidfd_info of Linux 6.15: mask first, exit code last
_PIDFD_INFO_BYTES = 64
_PIDFD_GET_INFO = 3 << 30 | _PIDFD_INFO_BYTES << 16 | 0xFF << 8 | 11
_PIDFD_INFO_EXIT = 1 << 3


def exit_status_of(pidfd: int) -> int | None:
    """Return the wait status of a process that was reaped; None before Linux 6.15, and while it runs."""
    reply = bytearray(_PIDFD_INFO_BYTES)
    struct.pack_into("=Q", reply, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, reply)
    except OSError:
        return None
    mask, status = struct.unpack_from("=Q", reply)[0], struct.unpack_from("=i", reply, _PIDFD_INFO_BYTES - 4)[0]
    return int(status) if mask & _PIDFD_INFO_EXIT else None
