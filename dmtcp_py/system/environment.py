"""The environment that this process was started with."""

from __future__ import annotations

import os
from pathlib import Path

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def given_environ() -> dict[str, str]:
    """Return the environment without the LC_CTYPE that the Python interpreter adds if no locale is set (PEP 538).

    With it, the program would read and sort text by other rules than without dmtcp-run.
    """
    environ = dict(os.environ)
    if environ.get("LC_CTYPE") in _COERCED and b"LC_CTYPE" not in _initial_names():
        del environ["LC_CTYPE"]
    return environ


def _initial_names() -> set[bytes]:
    # the kernel shows the environment as passed to exec; setenv(3) does not change it
    return {entry.partition(b"=")[0] for entry in Path("/proc/self/environ").read_bytes().split(b"\0")}
