"""A bound for one trial: what stands still then is shown, and ended.

Waits of a trial have bounds of their own; this one is for what nobody thought of.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kit.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TRIAL_S = 900.0
"""Longer than all bounds of a trial that are reached in turn."""


@contextmanager
def bounded(started: Callable[[], Sequence[int]], seconds: float = TRIAL_S) -> Iterator[threading.Event]:
    """Show and end what the processes STARTED have below them after some SECONDS; the event says that it was done."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        # where the trial waits, and then what it may wait for
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        pids = [pid for one in started() for pid in (one, *(below.pid for below in descendants(one)))]
        for pid in pids:
            sys.stderr.write(f"{_state_of(pid)}\n")
        for pid in pids:
            with suppress(OSError, psutil.Error):
                os.kill(pid, 9)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _state_of(pid: int) -> str:
    """Return the name and the state of a process, and where in the kernel it waits; nothing that could wait for it."""
    found = []
    for name in ("stat", "wchan", "stack"):
        with suppress(OSError):
            found.append(Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")[:600].strip())
    return f"process {pid}: {'; '.join(found)}"
