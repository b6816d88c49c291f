"""How often a job is interrupted, learned from its history: what comes unannounced, and so costs computed work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.interval import Auto, mtti_s
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.store.history import read_history
from dmtcp_py.store.lines import is_beginning, is_end, number_of, time_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from dmtcp_py.attempt.plan import Plan

_ANNOUNCED = {kind.value for kind in (Kind.FINISHED, Kind.CHECKPOINTED, Kind.HELD, Kind.REFUSED)}
_PER_CENT = 100


def auto_of(plan: Plan) -> Auto:
    """Return what the interval ``auto`` goes by in an attempt: what the user says, else what the history shows."""
    mean_s = plan.options.mtti_s
    if mean_s is None:
        mean_s = mtti_s(*seen(read_history(plan.store.layout), plan.start.job.lineage))
    return Auto(mtti_s=mean_s, most_overhead=plan.options.max_overhead / _PER_CENT)


def seen(history: Iterable[dict[str, Any]], lineage: int) -> tuple[float, int]:
    """Return for how many seconds the program of LINEAGE ran, and how often it was interrupted without notice."""
    ran_s, interruptions = 0.0, 0
    life: _Life | None = None
    for line in history:
        if is_beginning(line):
            if life is not None:
                # nobody noted how the life before ended
                ran_s, interruptions = ran_s + life.ran_s, interruptions + 1
            life = _Life(line) if line.get("lineage") == lineage else None
        elif life is not None and life.is_ended_by(line):
            ran_s += life.ran_s
            interruptions += line.get("event") not in _ANNOUNCED
            life = None
    return ran_s, interruptions


class _Life:
    """A life of the program whose lines are being read."""

    def __init__(self, line: dict[str, Any]) -> None:
        self._epoch = line.get("epoch")
        self._began = time_of(line)
        self.ran_s = 0.0

    def is_ended_by(self, line: dict[str, Any]) -> bool:
        """Read a line; return whether the life ended with it."""
        if line.get("event") == "killed" and line.get("attempt") == self._epoch:
            self._ran_until(time_of(line, "last_seen"))
            return True
        if line.get("epoch") != self._epoch:
            return False
        self.ran_s = max(self.ran_s, number_of(line, "ran_s"))
        return is_end(line)

    def _ran_until(self, moment: datetime | None) -> None:
        if moment is not None and self._began is not None:
            self.ran_s = max(self.ran_s, (moment - self._began).total_seconds())
