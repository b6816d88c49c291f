"""Locks whose owner's death the kernel tells the next owner (robust ones), as it knows them of each thread.

The kernel compares the number of a thread that ends with the one in the lock. After a restart of DMTCP (3.2, 4.2, 5.0)
threads have other numbers, and the next owner would wait for ever.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from contextlib import suppress

_GET_ROBUST_LIST = {"x86_64": 274, "aarch64": 100, "ppc64le": 299, "s390x": 305}
_POINTER = struct.Struct("=Q")
_IS_INHERITING = 1
"""The bit of an address in the list that says what kind of lock it is."""


def holds_one(pid: int) -> bool:
    """Return whether a thread of process PID holds a robust lock; False where that may not be looked at."""
    with suppress(OSError, KeyError):
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return any(_holds(int(tid), memory) for tid in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names
        finally:
            os.close(memory)
    return False


def _holds(tid: int, memory: int) -> bool:
    head, size = ctypes.c_ulong(), ctypes.c_size_t()
    number = _GET_ROBUST_LIST[platform.machine()]
    if ctypes.CDLL(None).syscall(number, tid, ctypes.byref(head), ctypes.byref(size)) != 0 or not head.value:
        return False
    # a thread may end, or be in the middle of a change
    with suppress(OSError, struct.error):
        first = _POINTER.unpack(os.pread(memory, _POINTER.size, head.value))[0]
        return first & ~_IS_INHERITING not in (0, head.value)
    return False
