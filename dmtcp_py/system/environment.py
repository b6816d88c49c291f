"""The environment that this process was started with."""

from __future__ import annotations

import os
from pathlib import Path

_OURS = ("DMTCP_RUN_MIRROR",)
"""Settings of ours that may hold a password, which an image would carry along."""
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def given_environ() -> dict[str, str]:
    """Return the environment without passwords of ours, and without the LC_CTYPE that Python adds (PEP 538).

    Python adds it where no locale is set. With it, the program would read and sort text by other rules than without
    dmtcp-run.
    """
    environ = dict(os.environ)
    if environ.get("LC_CTYPE") in _COERCED and b"LC_CTYPE" not in _initial_names():
        del environ["LC_CTYPE"]
    return {name: value for name, value in environ.items() if name not in _OURS}


def _initial_names() -> set[bytes]:
    # the kernel shows the environment as passed to exec; setenv(3) does not change it
    return {entry.partition(b"=")[0] for entry in Path("/proc/self/environ").read_bytes().split(b"\0")}
