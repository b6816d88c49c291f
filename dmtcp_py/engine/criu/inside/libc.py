"""Calls of the C library that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any


def call(name: str, *arguments: Any) -> None:
    """Call the C library's NAME with ARGUMENTS. Raises OSError if it does not return 0."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"{name}: {os.strerror(number)}")
