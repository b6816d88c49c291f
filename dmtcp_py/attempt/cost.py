"""What the next checkpoint may cost, estimated from the checkpoints that the job has taken so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.attempt.interval import guessed_cost_s
from dmtcp_py.system.proc import resident_bytes

if TYPE_CHECKING:
    from dmtcp_py.store.records import Cost, Manifest


class CheckpointCost:
    """The time that a checkpoint of process PID and its descendants may take, commit included."""

    def __init__(self, pid: int, parent: Manifest | None) -> None:
        self._pid = pid
        self.longest_s = 0.0
        """What the longest of them took."""
        self._bytes_then = 0
        if parent is not None:
            self.measured(parent.cost)

    def measured(self, cost: Cost) -> None:
        """Learn from a checkpoint that was committed just now."""
        self.longest_s = max(self.longest_s, cost.checkpoint_s + cost.commit_s)
        self._bytes_then = resident_bytes(self._pid)

    def now_s(self) -> float:
        """Return how many seconds the next one may take: more if the program has grown since."""
        size = resident_bytes(self._pid)
        if not self.longest_s:
            return guessed_cost_s(size)
        return self.longest_s * max(1.0, size / max(self._bytes_then, 1))
