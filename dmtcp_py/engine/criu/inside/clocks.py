"""CLOCK_MONOTONIC and CLOCK_BOOTTIME of a computation, which begin anew at each boot and differ between machines.

A program that sleeps until a time of such a clock would wait for days where the clock is behind. They are recorded
while all processes are frozen, and go on from there in a time namespace. criu does the same for root alone.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dmtcp_py.system import libc

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "clocks.json"
_CLONE_NEWTIME = 0x00000080
_CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}
_OFFSETS = Path("/proc/self/timens_offsets")
"""The offsets of the namespace for children, against the clocks of the machine: name or number, seconds, ns."""
_NS = 1_000_000_000


def record(images: Path) -> None:
    """Write the clocks of this process beside the IMAGES."""
    now = {name: time.clock_gettime_ns(clock) for name, clock in _CLOCKS.items()}
    (images / NAME).write_text(json.dumps(now), encoding="ascii")


def go_on(images: Path) -> None:
    """Make a time namespace for the children of this process, in which the clocks go on from what was recorded.

    Raises OSError if the clocks here are behind and the kernel (before 5.6) has no time namespaces.
    """
    try:
        recorded = json.loads((images / NAME).read_text(encoding="ascii"))
    except FileNotFoundError:
        # a generation of an older dmtcp-run
        return
    before = _offsets()
    ahead = {name: recorded[name] - time.clock_gettime_ns(clock) for name, clock in _CLOCKS.items()}
    try:
        libc.call("unshare", _CLONE_NEWTIME)
    except OSError:
        if any(behind > 0 for behind in ahead.values()):
            raise
        return
    lines = []
    for name in _CLOCKS:
        seconds, ns = divmod(before.get(name, 0) + ahead[name], _NS)
        lines.append(f"{name} {seconds} {ns}\n")
    _OFFSETS.write_text("".join(lines), encoding="ascii")


def main(words: Sequence[str]) -> NoReturn:
    """Execute a command whose children have the clocks; WORDS: the folder of the images, or none; the command."""
    images, *argv = words
    try:
        if images:
            go_on(Path(images))
    except OSError as error:
        sys.exit(f"setting the clocks: {error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})")
    os.execvp(argv[0], argv)  # noqa: S606 - the command that makes the other namespaces


def _offsets() -> dict[str, int]:
    """Return the offsets of this process's own clocks in ns."""
    found = {}
    with suppress(FileNotFoundError):
        for line in _OFFSETS.read_text(encoding="ascii").splitlines():
            name, seconds, ns = line.split()
            found[name] = int(seconds) * _NS + int(ns)
    return found
