"""Waiting for a condition, with a bound; a fixed time only where time is what a test is about."""

from __future__ import annotations

import time
from contextlib import suppress
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

LONG_S = 120.0
"""A bound for waits, not a duration that anything is expected to take."""
_LOOK_S = 0.02
Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], timeout_s: float = LONG_S) -> Found:
    """Wait for CONDITION, at most TIMEOUT_S, and return what made it true; fail the test if nothing does."""
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {timeout_s} s in vain"
        time.sleep(_LOOK_S)
    return found


def happens(condition: Callable[[], object], timeout_s: float = LONG_S) -> bool:
    """Wait for CONDITION, at most TIMEOUT_S, and return whether it became true."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def run_on(process: Popen[bytes], seconds: float) -> None:
    """Let PROCESS run for SECONDS, in which it may not end: for tests of time itself, which assume nothing of it."""
    with suppress(TimeoutExpired):
        status = process.wait(seconds)
        raise AssertionError(f"ended with {status} where it should have run on")
