"""The end of the allocation, as the scheduler's answers tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dmtcp_py.batch import time_limit
from dmtcp_py.batch.time_limit import LimitAnswer, TimeLimit

if TYPE_CHECKING:
    import pytest

    from dmtcp_py.batch.scheduler import BatchJob, Scheduler


class Clock:
    """A clock that a test sets; it stands for the module `time`."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return what was set."""
        return self.now

    time = monotonic


class Silent:
    """A scheduler that knows no job."""

    def query(self, _job_id: str | None) -> list[BatchJob]:
        """Return no job."""
        return []


def test_an_answer_to_what_was_asked_before_the_job_was_suspended_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(time_limit, "time", clock)
    limit = TimeLimit(1060.0, cast("Scheduler", Silent()), "7")
    limit.lead_s = 45.0
    posted: list[LimitAnswer] = []
    limit.poll(posted.append)
    clock.now += 20.0
    limit.poll(posted.append)
    assert not limit.update(LimitAnswer(1060.0))
    assert limit.stop_at is None, "the last checkpoint would begin now"
    limit.poll(posted.append)
    assert limit.update(LimitAnswer(1080.0))
    assert limit.stop_at == 1035.0
