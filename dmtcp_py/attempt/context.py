"""What all computations of one attempt share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from dmtcp_py.attempt.feed import Feed
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.batch.time_limit import TimeLimit
    from dmtcp_py.messages import Report
    from dmtcp_py.system.events import EventStream


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """The plan of an attempt with what exists for as long as the attempt runs."""

    plan: Plan
    report: Report
    stream: EventStream
    limit: TimeLimit
    started: datetime
    feed: Feed | None
    """What gives the program its standard input, where that is a pipe."""
