"""What the next checkpoint may cost, learned from those that the job has taken so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.attempt.interval import guessed_cost_s
from dmtcp_py.system.proc import resident_bytes

if TYPE_CHECKING:
    from dmtcp_py.store.records import Cost, Manifest


class CheckpointCost:
    """What a checkpoint of process PID's tree with its commit may take: learned from those of the job so far."""

    def __init__(self, pid: int, parent: Manifest | None) -> None:
        self._pid = pid
        self._dearest_s = 0.0
        self._bytes_then = 0
        if parent is not None:
            self.measured(parent.cost)

    def measured(self, cost: Cost) -> None:
        """Learn from one that was committed just now."""
        self._dearest_s = max(self._dearest_s, cost.checkpoint_s + cost.commit_s)
        self._bytes_then = resident_bytes(self._pid)

    def now_s(self) -> float:
        """Return what the next one may take, in seconds: more where the program has grown since."""
        size = resident_bytes(self._pid)
        if not self._dearest_s:
            return guessed_cost_s(size)
        return self._dearest_s * max(1.0, size / max(self._bytes_then, 1))
