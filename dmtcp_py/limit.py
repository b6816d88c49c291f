"""The end of the allocation, on a clock of our own: asked of the scheduler in a thread, now and then."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.batch import BatchState
from dmtcp_py.census import resident_bytes
from dmtcp_py.errors import BatchError
from dmtcp_py.interval import guessed_cost_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.batch import BatchJob, Scheduler
    from dmtcp_py.store.records import Cost, Manifest

MOST_BETWEEN_S = 300.0
LEAST_BETWEEN_S = 5.0
"""So often is asked at most, right before the end."""
_SHARE_OF_REST = 0.1
_AGAIN_S = 15.0
_SAME_S = 3.0
"""Clocks and answers may be so far apart."""
_JUMP_S = 10.0
"""Longer between two looks at the clock means that we were suspended: then the end has moved too."""
END_MARGIN_S = 5.0
"""So long before the end the program is ended, where no last checkpoint comes."""


@dataclass(frozen=True)
class Seen:
    """What asking the scheduler gave: when the allocation ends (monotonic seconds, None for never), or an ERROR."""

    end_at: float | None = None
    error: BatchError | None = None


class CostOfCheckpoints:
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


class TimeLimit:
    """When the allocation ends, as far as it is known; monotonic seconds, None for never."""

    def __init__(
        self, end_at: float | None, scheduler: Scheduler | None = None, job_id: str = "", at_most: float | None = None
    ) -> None:
        self.began_at = time.monotonic()
        self._at_most = at_most
        self.end_at = self._earlier(end_at)
        self.is_sure = True
        self.lead_s = 0.0
        self._scheduler = scheduler
        self._job_id = job_id
        self._thread: threading.Thread | None = None
        self._ask_at = self.began_at
        self._looked_at = self.began_at

    @property
    def whole_s(self) -> float:
        """The time that the attempt has in all; infinite without a limit."""
        return math.inf if self.end_at is None else max(self.end_at - self.began_at, 0.0)

    @property
    def stop_at(self) -> float | None:
        """When the last checkpoint has to begin; None without a limit, or where the end is not sure just now."""
        return None if self.end_at is None or not self.is_sure else self.end_at - self.lead_s

    @property
    def give_up_at(self) -> float | None:
        """When the program has to be ended, where no last checkpoint comes; None as for `stop_at`."""
        return None if self.end_at is None or not self.is_sure else self.end_at - min(END_MARGIN_S, self.lead_s / 2)

    def look(self, post: Callable[[Seen], None]) -> None:
        """Begin to ask the scheduler where it is time; what came of it is posted. To be called every second or so."""
        now = time.monotonic()
        if now - self._looked_at > _JUMP_S and self._scheduler is not None:
            self.is_sure, self._ask_at = False, now
        self._looked_at = now
        if self._scheduler is None or now < self._ask_at or self._thread is not None:
            return
        self._thread = threading.Thread(target=lambda: post(self._ask()), daemon=True)
        self._thread.start()

    def saw(self, seen: Seen) -> bool:
        """Take in what was posted, and return whether the end has moved.

        Where the scheduler did not answer, what was known before holds on.
        """
        self._thread, before = None, self.end_at
        if seen.error is None:
            self.end_at = self._earlier(seen.end_at)
        self.is_sure = True
        self._ask_at = time.monotonic() + (self._between_s() if seen.error is None else _AGAIN_S)
        if before is None or self.end_at is None:
            return before is not self.end_at
        return abs(before - self.end_at) > _SAME_S

    def _earlier(self, end_at: float | None) -> float | None:
        return min((at for at in (end_at, self._at_most) if at is not None), default=None)

    def _between_s(self) -> float:
        stop_at = self.stop_at
        if stop_at is None:
            return MOST_BETWEEN_S
        return min(max((stop_at - time.monotonic()) * _SHARE_OF_REST, LEAST_BETWEEN_S), MOST_BETWEEN_S)

    def _ask(self) -> Seen:
        if self._scheduler is None:
            return Seen(self.end_at)
        try:
            return Seen(end_of(ask(self._scheduler, self._job_id)))
        except BatchError as error:
            return Seen(error=error)


def ask(scheduler: Scheduler, job_id: str) -> BatchJob | None:
    """Return what SCHEDULER says of a job; None where it knows none of that name. Raises BatchError."""
    return next((job for job in scheduler.look(job_id) if job.job_id == job_id), None)


def end_of(job: BatchJob | None) -> float | None:
    """Return the end of JOB on the monotonic clock; None for never. Raises BatchError where there is no such job."""
    if job is None:
        raise BatchError("the scheduler does not know this job")
    if job.ends is None or job.state is BatchState.WAITING:
        return None
    return time.monotonic() + (job.ends - time.time())
