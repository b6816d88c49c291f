"""The checkpoint that a running job is writing, seen from outside: what lies in its staging directory. Only reads."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.system.files import files_below

if TYPE_CHECKING:
    from dmtcp_py.store.layout import JobLayout

_LEAST_BYTES = 1 << 16
_FRESH_S = 30.0
_MOST_SHARE = 0.99


@dataclass(frozen=True)
class Writing:
    """A checkpoint under way: how many bytes are written, and how many there will be, as far as it can be told."""

    done: int
    expected: int | None

    @property
    def share(self) -> float | None:
        """The part that is written; None if it is not known how much there will be."""
        return None if not self.expected else min(self.done / self.expected, _MOST_SHARE)

    @property
    def percent(self) -> str:
        """The part that is written as text; empty if it is not known."""
        return "" if self.share is None else f"{self.share:.0%}"


def writing(layout: JobLayout, generations: int, size: int) -> Writing | None:
    """Return the checkpoint that the job of LAYOUT is writing; its GENERATIONS have SIZE together. None if it does not.

    What an engine leaves in the directory between two checkpoints is small, or old.
    """
    total, newest = 0, 0.0
    with suppress(OSError):
        for path in files_below(layout.staging.resolve()):
            with suppress(OSError):
                found = path.stat()
                total, newest = total + found.st_size, max(newest, found.st_mtime)
    if total < _LEAST_BYTES or time.time() - newest > _FRESH_S:
        return None
    return Writing(total, size // generations if generations else None)
