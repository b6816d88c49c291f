"""What all computations of one attempt share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dmtcp_py.attempt.feed import Feed
    from dmtcp_py.attempt.gate import Gate
    from dmtcp_py.attempt.interval import Auto
    from dmtcp_py.attempt.lease import Lease
    from dmtcp_py.attempt.mirroring import Mirrors
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.attempt.sealing import Sealing
    from dmtcp_py.batch.time_limit import TimeLimit
    from dmtcp_py.messages import Report
    from dmtcp_py.system.events import EventStream


class AttemptContext(Struct, frozen=True, kw_only=True):
    """The plan of an attempt with what exists for as long as the attempt runs."""

    plan: Plan
    report: Report
    stream: EventStream
    limit: TimeLimit
    started: datetime
    gate: Gate
    lease: Lease
    feed: Feed | None
    """What gives the program its standard input, where that is a pipe."""
    mirrors: Mirrors
    auto: Auto
    """What the interval ``auto`` goes by."""
    sealing: Sealing
    make_outputs: Callable[[], None]
    """Makes the output files that do not exist, and holds them for this job."""
