"""What DMTCP refused a program while it ran, as native/refusals.c notes it: the program may have failed for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.dmtcp.obstacles import UNPROTECTED, USE_CRIU, Obstacle

if TYPE_CHECKING:
    from pathlib import Path

_NOTES = "refused"
_OPEN_FILES = "open-files"
_NO_ENGINE = f"no engine can checkpoint that; {UNPROTECTED}"
_INSIDE = "no engine restores them: start dmtcp-run inside the container"
_WHAT = {
    "inotify": ("inotify", USE_CRIU),
    "user-namespace": ("a user namespace", _NO_ENGINE),
    "namespaces": ("namespaces for a new process, as a container has", f"{_INSIDE}; {UNPROTECTED}"),
    "message-thread": ("a thread for messages (mq_notify with SIGEV_THREAD)", _NO_ENGINE),
    "timer-thread": ("a thread for a timer (timer_create with SIGEV_THREAD)", USE_CRIU),
    "trace": ("the tracing of a process (ptrace)", _NO_ENGINE),
}
_FAILS_WITHIN_S = 10.0
"""A program that ends with an error so soon after a refusal has probably failed because of it."""


class Refusal(Struct, frozen=True):
    """Something that DMTCP refused the program, and what the user can do about it."""

    what: str
    hint: str


def recent(folder: Path) -> Refusal | None:
    """Return the last refusal noted in FOLDER, if it is so recent that a program that fails now may fail for it."""
    path = folder / _NOTES
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError:
        return None
    found = [_WHAT[word] for word in _words(folder) if word in _WHAT]
    return Refusal(*found[-1]) if found and age_s < _FAILS_WITHIN_S else None


def obstacle(folder: Path) -> Obstacle | None:
    """Return the limit of the program that DMTCP did not set as the program asked; None if there is none."""
    words = _words(folder)
    if _OPEN_FILES not in words:
        return None
    limit = words[words.index(_OPEN_FILES) + 1]
    return Obstacle(
        f"the program sets its limit on open files to {limit}, and DMTCP needs 1024 and does not set it", USE_CRIU
    )


def _words(folder: Path) -> list[str]:
    try:
        return (folder / _NOTES).read_text(encoding="ascii").split()
    except OSError:
        return []
