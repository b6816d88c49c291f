"""May a job be requeued, and why not: a table of situations."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dmtcp_py.batch.requeue import (
    GATE,
    LIMIT,
    MOST_WITHOUT_PROGRESS,
    REQUEST,
    EndedAttempt,
    Next,
    attempts_without_progress,
    decide,
)
from dmtcp_py.batch.scheduler import BatchJob, BatchState

RUNNING = BatchJob("7", BatchState.RUNNING)
AT_LIMIT = EndedAttempt(
    stopped_for=LIMIT, has_new_generation=True, without_progress=0, at_limit=None, batch_job=RUNNING
)


def test_a_job_that_stopped_for_its_limit_with_a_new_generation_is_requeued() -> None:
    assert decide(AT_LIMIT).next is Next.REQUEUE


@pytest.mark.parametrize("stopped_for", [LIMIT, "SIGUSR1", "SIGUSR2"])
@pytest.mark.parametrize("batch_job", [RUNNING, None])
def test_a_limit_and_its_warning_are_the_same_and_a_silent_scheduler_is_tried(
    stopped_for: str, batch_job: BatchJob | None
) -> None:
    assert decide(replace(AT_LIMIT, stopped_for=stopped_for, batch_job=batch_job)).next is Next.REQUEUE


def test_where_users_may_not_requeue_the_job_is_resubmitted_unless_asked_otherwise() -> None:
    ended = replace(AT_LIMIT, usual=Next.RESUBMIT, batch_job=replace(RUNNING, can_requeue=False))
    assert decide(ended).next is Next.RESUBMIT
    assert decide(replace(ended, at_limit=Next.REQUEUE)).why == "the job was submitted with --no-requeue"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"has_new_generation": False}, "this attempt committed no generation"),
        ({"without_progress": MOST_WITHOUT_PROGRESS}, "3 attempts in a row made no progress"),
        ({"at_limit": Next.EXIT}, "--at-limit exit"),
        ({"stopped_for": REQUEST}, "dmtcp-ctl stopped"),
        ({"stopped_for": "SIGTERM"}, "SIGTERM stopped the program, not the time limit"),
        ({"stopped_for": None}, "the time limit was not the reason for the end"),
        ({"batch_job": BatchJob("7", BatchState.CANCELLED)}, "cancelled"),
        ({"batch_job": BatchJob("7", BatchState.PREEMPTED)}, "preempted"),
        ({"batch_job": BatchJob("7", BatchState.WAITING)}, "already requeued it"),
        ({"batch_job": BatchJob("7", BatchState.ENDED, restarts=3), "restarts": 2}, "already requeued it"),
        ({"batch_job": BatchJob("7", BatchState.ENDED)}, "is ending the job"),
        ({"batch_job": BatchJob("7", BatchState.RUNNING, can_requeue=False)}, "--no-requeue"),
        ({"restarts": 4, "most_restarts": 4}, "requeued 4 times"),
    ],
)
def test_each_reason_not_to_requeue_is_named(change: dict[str, Any], why: str) -> None:
    decided = decide(replace(AT_LIMIT, **change))
    assert decided.next is Next.EXIT
    assert why in decided.why


def test_a_closed_gate_hands_the_node_back_also_where_nothing_has_run() -> None:
    for has_new_generation in (True, False):
        closed = replace(AT_LIMIT, stopped_for=GATE, has_new_generation=has_new_generation)
        assert decide(closed).next is Next.REQUEUE
        assert decide(replace(closed, at_limit=Next.EXIT)).next is Next.EXIT


def test_no_progress_outweighs_every_wish() -> None:
    for wish in (None, *Next):
        decided = decide(replace(AT_LIMIT, without_progress=MOST_WITHOUT_PROGRESS, at_limit=wish))
        assert decided.next is Next.EXIT
        assert decided.is_stuck


def test_a_resubmission_needs_no_leave_to_requeue() -> None:
    refused = BatchJob("7", BatchState.RUNNING, can_requeue=False)
    assert decide(replace(AT_LIMIT, at_limit=Next.RESUBMIT, batch_job=refused)).next is Next.RESUBMIT


def test_a_time_limit_that_was_seen_too_late_is_one_all_the_same() -> None:
    timed_out = BatchJob("7", BatchState.TIMED_OUT)
    assert decide(replace(AT_LIMIT, stopped_for="SIGTERM", batch_job=timed_out)).next is Next.REQUEUE


def started(epoch: int, lineage: int = 1) -> dict[str, Any]:
    return {"event": "started", "epoch": epoch, "lineage": lineage}


def taken(epoch: int, ran_s: float, checkpoint_s: float = 1.0) -> dict[str, Any]:
    line = {"event": "checkpointed", "epoch": epoch, "lineage": 1, "generation": 1}
    return {**line, "ran_s": ran_s, "checkpoint_s": checkpoint_s}


@pytest.mark.parametrize(
    ("history", "count"),
    [
        ([], 0),
        ([started(1)], 1),
        ([started(1), taken(1, 60)], 0),
        ([started(1), taken(1, 60), started(2), started(3)], 2),
        ([started(1), started(2), started(3), taken(3, 60)], 0),
        # a generation that cost more than the program ran before it brings nothing on
        ([started(1), taken(1, 0.5), started(2), taken(2, 0.9), started(3), taken(3, 1.0)], 3),
        ([started(1), taken(1, 0.5), taken(1, 9)], 0),
        # how an attempt ended is no checkpoint, and another lineage is another story
        ([started(1), {"event": "checkpointed", "epoch": 1, "lineage": 1, "status": 85, "generation": 1}], 1),
        ([started(1, lineage=2), started(2)], 1),
        ([{"event": "pruned"}, {"event": "started", "epoch": "x"}, started(1)], 1),
        ([started(1), {**taken(1, 9), "ran_s": None}], 1),
    ],
)
def test_attempts_without_progress_are_counted_back_from_the_last(history: list[dict[str, Any]], count: int) -> None:
    assert attempts_without_progress(history, 1) == count
