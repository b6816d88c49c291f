"""Calls of the C library that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def personality(value: int) -> Iterator[None]:
    """Give what is started meanwhile the personality VALUE, or ours if that is 0. Raises OSError."""
    if value == 0:
        yield
        return
    before = _set_personality(value)
    try:
        yield
    finally:
        _set_personality(before)


def _set_personality(value: int) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    before = library.personality(ctypes.c_ulong(value))
    if before == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"personality: {os.strerror(number)}")
    return int(before)


def call(name: str, *arguments: Any) -> None:
    """Call the C library's NAME with ARGUMENTS. Raises OSError if it does not return 0."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"{name}: {os.strerror(number)}")


def made(name: str, *arguments: Any) -> int:
    """Call the C library's NAME with ARGUMENTS, and return the descriptor that it makes. Raises OSError."""
    fd = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return int(fd)
