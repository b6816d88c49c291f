"""The end of the allocation, on the monotonic clock; a thread asks the scheduler for it from time to time."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.batch.scheduler import BatchState, job_of
from dmtcp_py.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import BatchJob, Scheduler

MAX_INTERVAL_S = 300.0
"""Longest interval between two queries to the scheduler."""
MIN_INTERVAL_S = 5.0
"""Shortest interval between two queries to the scheduler."""
_SHARE_OF_REST = 0.1
"""Interval between two queries, as a share of the time until the last checkpoint begins."""
_RETRY_S = 15.0
"""Time until the next query after one without an answer."""
_TOLERANCE_S = 3.0
"""Difference between two answers up to which the end counts as unchanged."""
_SUSPENDED_S = 10.0
"""Gap between two polls from which this process counts as suspended in between; the end may have moved then."""
END_MARGIN_S = 5.0
"""How long before the end to end the program if no last checkpoint was committed."""


class LimitAnswer(Struct, frozen=True):
    """The result of a query: when the allocation ends (monotonic seconds, None for never), or an ERROR."""

    end_at: float | None = None
    error: BatchError | None = None


class TimeLimit:
    """When the allocation ends, as far as known, in monotonic seconds; None for never."""

    def __init__(
        self, end_at: float | None, scheduler: Scheduler | None = None, job_id: str = "", at_most: float | None = None
    ) -> None:
        self.began_at = time.monotonic()
        self._at_most = at_most
        self.end_at = self._earlier(end_at)
        self.is_current = True
        self.lead_s = 0.0
        self._scheduler = scheduler
        self._job_id = job_id
        self._thread: threading.Thread | None = None
        self._is_answer_old = False
        self._ask_at = self.began_at
        self._polled_at = self.began_at

    @property
    def total_s(self) -> float:
        """The time from the beginning of the attempt to the end of the allocation; infinite without a limit."""
        return math.inf if self.end_at is None else max(self.end_at - self.began_at, 0.0)

    @property
    def stop_at(self) -> float | None:
        """When the last checkpoint has to begin; None without a limit, or while the end has to be asked for again."""
        return None if self.end_at is None or not self.is_current else self.end_at - self.lead_s

    @property
    def give_up_at(self) -> float | None:
        """When to end the program if there is no last checkpoint; None as for `stop_at`."""
        return None if self.end_at is None or not self.is_current else self.end_at - min(END_MARGIN_S, self.lead_s / 2)

    def poll(self, post: Callable[[LimitAnswer], None]) -> None:
        """Start a query to the scheduler if one is due, and POST its answer. Call this about once a second."""
        now = time.monotonic()
        if now - self._polled_at > _SUSPENDED_S and self._scheduler is not None:
            self.is_current, self._ask_at = False, now
            self._is_answer_old = self._thread is not None
        self._polled_at = now
        if self._scheduler is None or now < self._ask_at or self._thread is not None:
            return
        self._thread = threading.Thread(target=lambda: post(self._ask()), daemon=True)
        self._thread.start()

    def update(self, answer: LimitAnswer) -> bool:
        """Apply a posted ANSWER; return whether the end has moved.

        If the scheduler did not answer, the previous end stays.
        """
        self._thread, before = None, self.end_at
        if self._is_answer_old:
            # the scheduler was asked before the job was suspended, and `poll` asks again at once
            self._is_answer_old = False
            return False
        if answer.error is None:
            self.end_at = self._earlier(answer.end_at)
        self.is_current = True
        self._ask_at = time.monotonic() + (self._between_s() if answer.error is None else _RETRY_S)
        if before is None or self.end_at is None:
            return before is not self.end_at
        return abs(before - self.end_at) > _TOLERANCE_S

    def _earlier(self, end_at: float | None) -> float | None:
        return min((at for at in (end_at, self._at_most) if at is not None), default=None)

    def _between_s(self) -> float:
        stop_at = self.stop_at
        if stop_at is None:
            return MAX_INTERVAL_S
        return min(max((stop_at - time.monotonic()) * _SHARE_OF_REST, MIN_INTERVAL_S), MAX_INTERVAL_S)

    def _ask(self) -> LimitAnswer:
        if self._scheduler is None:
            return LimitAnswer(self.end_at)
        try:
            return LimitAnswer(end_of(job_of(self._scheduler, self._job_id)))
        except BatchError as error:
            return LimitAnswer(error=error)


def find_time_limit(
    at_most_s: float | None,
    allocation: Allocation,
    scheduler: Scheduler | None,
    job: BatchJob | None,
    warn: Callable[[str], None],
) -> TimeLimit:
    """Return the time limit of the attempt that begins now: AT_MOST_S or the scheduler's, whichever comes first.

    JOB is a recent report of the scheduler; if it is None, the scheduler is asked.
    """
    at_most = None if at_most_s is None else time.monotonic() + at_most_s
    known_at = None if allocation.ends is None else time.monotonic() + allocation.ends - time.time()
    if scheduler is None or allocation.job_id is None:
        if allocation.scheduler is not None and not allocation.is_evicted and known_at is None and at_most is None:
            warn(f"dmtcp-run cannot ask {allocation.scheduler} when the job ends; set the limit with --time-limit")
        return TimeLimit(known_at, at_most=at_most)
    try:
        end_at = end_of(job or job_of(scheduler, allocation.job_id))
    except BatchError as error:
        warn(f"{error.what}; dmtcp-run will ask for the time limit again")
        end_at = known_at
    return TimeLimit(end_at, scheduler, allocation.job_id, at_most)


def end_of(job: BatchJob | None) -> float | None:
    """Return the end of JOB on the monotonic clock; None for never. Raises BatchError if JOB is None."""
    if job is None:
        raise BatchError("the scheduler does not know this job")
    if job.ends is None or job.state is BatchState.WAITING:
        return None
    return time.monotonic() + (job.ends - time.time())
