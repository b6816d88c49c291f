"""Plans the last checkpoint before the time limit, and reports the limit to the user."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dmtcp_py.attempt.happenings import LimitSeen
from dmtcp_py.attempt.interval import is_worth_it
from dmtcp_py.attempt.interval import lead_s as lead_for
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from dmtcp_py.attempt.context import AttemptContext
    from dmtcp_py.attempt.cost import CheckpointCost
    from dmtcp_py.attempt.failures import Warnings
    from dmtcp_py.batch.time_limit import LimitAnswer


class LimitPlanning:
    """When the last checkpoint of a computation has to begin, by the time limit and its COST."""

    def __init__(self, context: AttemptContext, cost: CheckpointCost, warnings: Warnings) -> None:
        self._limit, self._report = context.limit, context.report
        self._post = context.stream.post
        self._lead_s = context.plan.options.lead_s
        self._cost, self._warnings = cost, warnings

    def poll(self) -> float | None:
        """Have the scheduler asked for the limit if it is time for that; return when the last checkpoint begins."""
        self._limit.poll(self._post)
        return self._limit.stop_at

    def answered(self, answer: LimitAnswer) -> bool:
        """Apply the scheduler's ANSWER; return whether the limit has moved."""
        has_moved = self._limit.update(answer)
        if has_moved:
            self.report()
        if answer.error is not None:
            self._warnings.warn_once(f"{answer.error.what}; using the time limit that was known before")
        return has_moved

    def seen(self) -> LimitSeen:
        """Return the limit as it is known now, with the time that the last checkpoint is expected to take."""
        limit = self._limit
        if limit.end_at is not None:
            limit.lead_s = lead_for(self._cost.now_s(), limit.total_s) if self._lead_s is None else self._lead_s
        return LimitSeen(limit.stop_at, limit.give_up_at)

    def report(self) -> None:
        """Print when the limit comes, and when the last checkpoint begins."""
        limit = self._limit
        if limit.end_at is None:
            return
        left_s, lead = limit.end_at - time.monotonic(), format_duration(limit.lead_s)
        text = f"the time limit comes in {format_duration(max(left_s, 0))}; the last checkpoint begins {lead} before"
        self._report.say(text, event="limit", left_s=round(left_s), lead_s=round(limit.lead_s, 1))
        if not is_worth_it(limit.lead_s, limit.total_s):
            self._warnings.warn_once(
                f"so short a time limit leaves little for computing: the last {lead} are kept free; ask for more time"
            )
