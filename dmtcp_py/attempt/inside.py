"""What the program learns of its life, and the sections in which it asks for no checkpoint, seen from dmtcp-run.

A checkpoint is announced before sections are looked for, and the program looks for an announcement after it has begun
a section. So one of the two always sees the other.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.happenings import LimitSeen
from dmtcp_py.attempt.interval import guessed_cost_s
from dmtcp_py.attempt.interval import lead_s as lead_for
from dmtcp_py.errors import StoreError
from dmtcp_py.store import inside
from dmtcp_py.store.history import read_history
from dmtcp_py.store.inside import Life

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.batch.time_limit import TimeLimit
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.store import Store

_BEGINS = ("started", "resumed")
_SAME_S = 0.5
"""Difference up to which two time limits count as the same."""


def begin_life(store: Store, lineage: int, manifest: Manifest | None, limit: LimitSeen) -> None:
    """Let the program know, before it is launched or restarted, of the life that begins, with MANIFEST or from scratch.

    LIMIT is the time limit as far as it is known by then. Raises StoreError.
    """
    inside.clear_sections(store.layout)
    life = Life(
        name=f"{store.epoch}-{time.time_ns()}",
        attempt=_attempt_number(store, lineage),
        began=time.time(),
        generation=None if manifest is None else manifest.generation,
        stops=_moment(limit.stop_at),
        ends=_moment(limit.end_at),
    )
    try:
        inside.write_life(store.layout, life)
    except OSError as error:
        # the program must not find the life before
        store.layout.life.unlink(missing_ok=True)
        raise StoreError(_unwritten(store.layout, error), "free space there or choose another --dir") from error


def limit_at_start(limit: TimeLimit, lead_s: float | None, manifest: Manifest | None) -> LimitSeen:
    """Return the limit before the program that MANIFEST describes is restarted, or a new one is launched.

    LEAD_S is what the user asked for.
    """
    if limit.end_at is None:
        return LimitSeen(None, None)
    if lead_s is None:
        cost_s = guessed_cost_s(0) if manifest is None else manifest.cost.checkpoint_s + manifest.cost.commit_s
        lead_s = lead_for(cost_s, limit.total_s)
    return LimitSeen(limit.end_at - lead_s, limit.end_at)


def _attempt_number(store: Store, lineage: int) -> int:
    """Return how many attempts LINEAGE has had, this one included."""
    lines = (line for line in read_history(store.layout) if line.get("lineage") == lineage)
    return len({store.epoch, *(line.get("epoch") for line in lines if line.get("event") in _BEGINS)})


class Inside:
    """The life of one computation, as the program reads it; WARN is called once if that cannot be written."""

    def __init__(self, store: Store, warn: Callable[[str], None]) -> None:
        self._layout, self._warn = store.layout, warn
        self._life = inside.read_life(store.layout)
        # the thread that takes a checkpoint says when the images are complete
        self._lock = threading.Lock()

    def plan_limit(self, stop_at: float | None, end_at: float | None) -> None:
        """Pass on when the last checkpoint begins and the time limit comes, in monotonic seconds."""
        stops, ends = _moment(stop_at), _moment(end_at)
        if self._life is not None and not (_is_same(stops, self._life.stops) and _is_same(ends, self._life.ends)):
            self._change(stops=stops, ends=ends)

    def announce(self) -> float | None:
        """Announce a checkpoint; return until when the program asks for none, in monotonic seconds."""
        self._change(is_checkpointing=True)
        until = inside.last_section_end(self._layout)
        return None if until is None else until - time.time() + time.monotonic()

    def withdraw(self) -> None:
        """Withdraw the announcement: the images are complete, or no checkpoint is wanted any more."""
        if self._life is not None and self._life.is_checkpointing:
            self._change(is_checkpointing=False)

    def end(self) -> None:
        """Remove what was written: the life is over. What a later attempt has written stays."""
        found = inside.read_life(self._layout)
        if found is not None and self._life is not None and found.name == self._life.name:
            with self._lock, suppress(OSError):
                self._life = None
                self._layout.life.unlink()

    def _change(self, **values: Any) -> None:
        with self._lock:
            if self._life is None:
                return
            self._life = self._life._replace(**values)
            try:
                inside.write_life(self._layout, self._life)
            except OSError as error:
                self._warn(_unwritten(self._layout, error))


def _unwritten(layout: JobLayout, error: OSError) -> str:
    return f"{layout.life} cannot be written: {error.strerror}; dmtcp_py.here may be wrong in the program"


def _moment(at: float | None) -> float | None:
    """Return monotonic second AT in seconds since the epoch."""
    return None if at is None else time.time() + at - time.monotonic()


def _is_same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < _SAME_S
