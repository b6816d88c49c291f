"""The step of a job that a person waits for, seen from outside: a checkpoint being written, or a generation verified.

Only reads: what lies in the staging directory, and what the supervisor notes of its verification.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import StoreError
from dmtcp_py.store.records import Verifying, read_record
from dmtcp_py.system.files import files_below

if TYPE_CHECKING:
    from dmtcp_py.store.layout import JobLayout

_LEAST_BYTES = 1 << 16
_FRESH_S = 30.0
_MOST_SHARE = 0.99


class Step(Struct, frozen=True):
    """A step under way, in a word, with how many bytes of it are done of how many, as far as that can be told."""

    word: str
    done: int
    expected: int | None

    @property
    def share(self) -> float | None:
        """The part that is done; None if it is not known how much there will be."""
        return None if not self.expected else min(self.done / self.expected, _MOST_SHARE)

    def __str__(self) -> str:
        return self.word if self.share is None else f"{self.word} {self.share:.0%}"


def step_of(layout: JobLayout, generations: int, size: int) -> Step | None:
    """Return the step of the running job of LAYOUT, whose GENERATIONS have SIZE together; None if it just runs."""
    return _verifying(layout) or _writing(layout, size // generations if generations else None)


def _verifying(layout: JobLayout) -> Step | None:
    with suppress(OSError, StoreError):
        noted = read_record(layout.verifying, Verifying)
        if time.time() - noted.updated.timestamp() < _FRESH_S:
            return Step("verifying", noted.done, noted.size)
    return None


def _writing(layout: JobLayout, expected: int | None) -> Step | None:
    """Return the checkpoint being written: what an engine leaves there between two of them is small, or old."""
    total, newest = 0, 0.0
    with suppress(OSError):
        for path in files_below(layout.staging.resolve()):
            with suppress(OSError):
                found = path.stat()
                total, newest = total + found.st_size, max(newest, found.st_mtime)
    if total < _LEAST_BYTES or time.time() - newest > _FRESH_S:
        return None
    return Step("checkpointing", total, expected)
