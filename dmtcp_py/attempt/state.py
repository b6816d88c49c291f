"""What ``state.json`` says of an attempt: while its program runs, and at its end."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from dmtcp_py.attempt import policy
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.store.records import State, utc_now
from dmtcp_py.system.proc import process_tree

if TYPE_CHECKING:
    from datetime import datetime

    from dmtcp_py.attempt.context import AttemptContext
    from dmtcp_py.attempt.outcome import Outcome
    from dmtcp_py.attempt.policy import Situation
    from dmtcp_py.attempt.start import Running


def running_state(context: AttemptContext, running: Running, *, newest: int | None, situation: Situation) -> State:
    """Return the state of an attempt whose program runs; NEWEST is its newest generation."""
    plan, pids = context.plan, running.computation.known_pids()
    return State(
        lineage=plan.start.job.lineage,
        epoch=plan.store.epoch,
        phase="running",
        started=context.started,
        updated=utc_now(),
        engine=running.choice.engine_text,
        resumed_from=newest,
        next_checkpoint=_moment(policy.wakes_at(situation)),
        processes=process_tree(*pids),
        ends=_moment(context.limit.end_at),
        origin=plan.allocation.origin,
        run=plan.allocation.run,
        scheduler=plan.allocation.scheduler,
    )


def held_state(context: AttemptContext, newest: int | None) -> State:
    """Return the state of an attempt that waits for its gate, and goes on with generation NEWEST."""
    plan = context.plan
    return State(
        lineage=plan.start.job.lineage,
        epoch=plan.store.epoch,
        phase=Kind.HELD.value,
        started=context.started,
        updated=utc_now(),
        resumed_from=newest,
        ends=_moment(context.limit.end_at),
        origin=plan.allocation.origin,
        run=plan.allocation.run,
        scheduler=plan.allocation.scheduler,
    )


def end_state(context: AttemptContext, outcome: Outcome, engine_text: str | None) -> State:
    """Return the state at the end of an attempt; ENGINE_TEXT names the engine that ran the program last."""
    plan = context.plan
    return State(
        lineage=plan.start.job.lineage,
        epoch=plan.store.epoch,
        phase=outcome.kind.value,
        status=outcome.status,
        started=context.started,
        updated=utc_now(),
        engine=engine_text,
        resumed_from=outcome.generation,
        origin=plan.allocation.origin,
        run=plan.allocation.run,
        scheduler=plan.allocation.scheduler,
    )


def _moment(at: float | None) -> datetime | None:
    """Return the moment of monotonic second AT."""
    return None if at is None else utc_now() + timedelta(seconds=at - time.monotonic())
