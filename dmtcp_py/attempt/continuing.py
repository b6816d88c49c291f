"""What becomes of the batch job after an attempt that did not finish: it is requeued, resubmitted or left to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.batch.continuation import Continuation
from dmtcp_py.batch.eviction import status_to_exit_with
from dmtcp_py.batch.requeue import attempts_without_progress
from dmtcp_py.store.history import read_history

if TYPE_CHECKING:
    from dmtcp_py.attempt.outcome import Outcome
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.messages import Report


def continue_batch_job(plan: Plan, report: Report, outcome: Outcome) -> Outcome:
    """Have the batch job go on if it is not finished; return the outcome with the status to exit with."""
    job_id, lineage = plan.allocation.job_id, plan.start.job.lineage
    if job_id is None or outcome.kind is Kind.FINISHED:
        return outcome
    if plan.allocation.is_evicted:
        status = status_to_exit_with(
            plan.allocation,
            report,
            stopped_for=outcome.stopped_for,
            status=outcome.status,
            without_progress=attempts_without_progress(read_history(plan.store.layout), lineage),
        )
        return replace(outcome, status=status)
    if plan.scheduler is None:
        name = plan.allocation.scheduler
        report.warn(f"not requeued: dmtcp-run cannot talk to {name}; submit the same script again")
        return outcome
    continuation = Continuation(
        job_id=job_id,
        scheduler=plan.scheduler,
        allocation=plan.allocation,
        store=plan.store,
        lineage=lineage,
        at_limit=plan.options.at_limit,
        checkpointed_status=plan.checkpointed_status,
        report=report,
    )
    return replace(outcome, status=continuation.carry_out(stopped_for=outcome.stopped_for, status=outcome.status))
