"""Objects of System V and POSIX message queues, which the kernel keeps when a program is killed.

``native/objects.c`` records those that the program makes, as if they were files that were not there: ``/SYSV/msg/KEY``,
``sem``, ``shm``, and ``/SYSV/mqueue/NAME``.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "/SYSV/"
_IPC_RMID = 0


def is_object(path: Path) -> bool:
    """Whether PATH in the journal is an object, and not a file."""
    return str(path).startswith(FOLDER)


def remove(path: Path) -> None:
    """Remove the object at PATH, if it is there."""
    # before glibc 2.34 the C library itself had no message queues
    libc = ctypes.CDLL("librt.so.1", use_errno=True)
    kind, _, name = str(path).removeprefix(FOLDER).partition("/")
    if kind == "mqueue":
        failed = libc.mq_unlink(os.fsencode(f"/{name}"))
    else:
        number = getattr(libc, f"{kind}get")(ctypes.c_int(int(name)), 0, 0)
        words = (0, _IPC_RMID) if kind == "sem" else (_IPC_RMID, None)
        failed = number < 0 or getattr(libc, f"{kind}ctl")(number, *words)
    if failed and ctypes.get_errno() not in (errno.ENOENT, errno.EIDRM):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
