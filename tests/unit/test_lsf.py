"""What LSF prints, as its users have recorded it, and as dmtcp-run reads it: LSF itself cannot be had freely."""

from __future__ import annotations

import pytest

from dmtcp_py.batch.lsf import _covers, _job
from dmtcp_py.batch.scheduler import BatchState

NOW = 1457023500.0  # 3 March 2016, 16:45 UTC


def test_the_end_is_now_and_the_time_left_of_a_run_limit() -> None:
    # fields of gc3pie issue 514, with time_left as the LSF module of SCR has recorded it: "0:12 L"
    job = _job(["261871", "0", "RUN", "Mar  3 16:40", "Mar  3 16:39", "0:12 L"], NOW)
    assert (job.job_id, job.array, job.array_task, job.state) == ("261871", None, None, BatchState.RUNNING)
    assert job.ends == NOW + 720
    assert job.starts == NOW - 300
    assert job.submitted == NOW - 360


@pytest.mark.parametrize("left", ["-", "0:12 E", ""])
def test_without_a_run_limit_or_with_an_estimate_a_job_has_no_end(left: str) -> None:
    assert _job(["7", "0", "RUN", "Mar  3 16:40", "Mar  3 16:39", left], NOW).ends is None


def test_a_month_that_is_still_to_come_was_last_year() -> None:
    assert _job(["7", "0", "RUN", "Dec 31 23:59", "-", "-"], NOW).starts == 1451606340.0


def test_a_task_of_an_array_is_named_as_bkill_names_it() -> None:
    job = _job(["88", "5", "PEND", "-", "Mar  3 16:39", "-"], NOW)
    assert (job.job_id, job.array, job.array_task, job.state) == ("88[5]", "88", "5", BatchState.WAITING)


@pytest.mark.parametrize(
    ("values", "status", "covers"),
    [
        ("85", 85, True),
        ("99 100", 85, False),
        ("30 EXCLUDE(85)", 85, True),
        ("all ~0", 85, True),
        ("all ~85", 85, False),
        ("", 85, False),
    ],
)
def test_exit_values_that_requeue_are_those_of_the_manual(values: str, status: int, covers: bool) -> None:  # noqa: FBT001
    # as the pages of lsb.queues say of REQUEUE_EXIT_VALUES
    assert _covers(values, status) is covers
