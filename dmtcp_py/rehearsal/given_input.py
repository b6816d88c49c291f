"""The standard input of a rehearsal, as a file that every run of the program reads from its beginning."""

from __future__ import annotations

import os
import select
import shlex
import stat
import time
from pathlib import Path

from msgspec import Struct

_MOST_BYTES = 64 << 20
_WAIT_S = 2.0


class GivenInput(Struct, frozen=True):
    """The file that a program reads; None if its input is empty. AS_TYPED is what a line needs to have it."""

    path: Path | None = None
    as_typed: str = ""
    notes: tuple[str, ...] = ()


def given_input(folder: Path) -> GivenInput:
    """Return our own standard input: its file, or a copy in FOLDER of what comes from a pipe."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return GivenInput()
    if stat.S_ISREG(mode):
        path = Path(os.readlink("/proc/self/fd/0"))
        if path.exists() and os.path.samestat(path.stat(), os.fstat(0)):
            return GivenInput(path, f" < {shlex.quote(os.path.relpath(path))}")
    elif not stat.S_ISFIFO(mode):
        return GivenInput()
    content, is_all = _read_all()
    if not content:
        return GivenInput()
    copy = folder / "stdin"
    copy.write_bytes(content)
    notes = () if is_all else (f"only the first {len(content)} bytes of the standard input were used",)
    return GivenInput(copy, "", notes)


def _read_all() -> tuple[bytes, bool]:
    """Return what comes on standard input in a short time, and whether that was all."""
    found, until = b"", time.monotonic() + _WAIT_S
    while len(found) < _MOST_BYTES:
        ready, _, _ = select.select([0], [], [], max(until - time.monotonic(), 0))
        if not ready:
            return found, False
        some = os.read(0, 1 << 16)
        if not some:
            return found, True
        found += some
    return found, False
