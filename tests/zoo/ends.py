"""Waiting for something to happen to a program, or for its end, with a bound."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from kit.processes import kill_all
from kit.waits import happens

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Process = subprocess.Popen[bytes]


def wait(process: Process, condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until CONDITION, or the end of PROCESS; kill it if neither comes, and raise TimeoutError that says WHAT."""
    if not happens(lambda: process.poll() is not None or condition(), seconds):
        kill_all(process)
        raise TimeoutError(f"{what} in the time allowed")


def wait_end(process: Process, seconds: float, what: str) -> int:
    """Wait for the end of PROCESS as `wait` does, and return its status."""
    wait(process, lambda: False, seconds, what)
    assert process.returncode is not None
    return process.returncode


def run_on(process: Process, most_s: float) -> None:
    """Let PROCESS run on for a random time, or to its end."""
    happens(lambda: process.poll() is not None, random.uniform(0, most_s))
