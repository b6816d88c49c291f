"""The environment that this process was started with."""

from __future__ import annotations

import os
from pathlib import Path

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def given_environ() -> dict[str, str]:
    """Return the environment without what this interpreter added: LC_CTYPE, where no locale was set (PEP 538).

    A program that got it would read and sort text by other rules than without us.
    """
    environ = dict(os.environ)
    if environ.get("LC_CTYPE") in _COERCED and b"LC_CTYPE" not in _names_at_the_start():
        del environ["LC_CTYPE"]
    return environ


def _names_at_the_start() -> set[bytes]:
    # the kernel shows what exec was given, which setenv(3) does not write to
    return {entry.partition(b"=")[0] for entry in Path("/proc/self/environ").read_bytes().split(b"\0")}
