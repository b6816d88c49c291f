"""What a batch job does after an attempt, carried out: when it has to end, and how it goes on."""

from __future__ import annotations

import os
import shlex
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dmtcp_py.batch import CHAIN
from dmtcp_py.errors import BatchError, EngineError, StoreError
from dmtcp_py.limit import TimeLimit, ask, end_of
from dmtcp_py.outcome import FAILED_STATUS, Kind, Outcome, RunOptions
from dmtcp_py.process import run_tool
from dmtcp_py.requeue import Facts, Next, Plan, fruitless, plan
from dmtcp_py.store.store import read_history
from dmtcp_py.store.verify import verify
from dmtcp_py.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.attempt import Surroundings
    from dmtcp_py.batch import Allocation, BatchJob, Scheduler
    from dmtcp_py.report import Report

MOST_RESTARTS = "DMTCP_RUN_MAX_REQUEUES"
"""The environment variable by which a site, or a user, bounds how often a job is requeued."""
INSIST_S = 300.0
"""So long a scheduler that does not answer is tried again; meanwhile it ends no job either."""
_COMMAND_S = 60.0
_AGAIN_S = 5.0
_OF_THE_JOB = ("SLURM_", "SBATCH_", "PBS_", "LSB_", "SGE_")
_OF_THE_SITE = ("SLURM_CONF", "PBS_SERVER", "PBS_CONF_FILE")


def time_limit(options: RunOptions, allocation: Allocation, scheduler: Scheduler | None, report: Report) -> TimeLimit:
    """Return the time limit of the attempt that begins now: the user's, or else the scheduler's."""
    if options.time_limit_s is not None:
        return TimeLimit(time.monotonic() + options.time_limit_s)
    told_at = None if allocation.ends is None else time.monotonic() + allocation.ends - time.time()
    if scheduler is None or allocation.job_id is None:
        if allocation.scheduler is not None and told_at is None:
            name = allocation.scheduler
            report.warn(f"{name} cannot be asked from here when the job ends: name its limit with --time-limit")
        return TimeLimit(told_at)
    try:
        end_at = end_of(ask(scheduler, allocation.job_id))
    except BatchError as error:
        report.warn(f"{error.what}; the time limit is asked for again")
        end_at = told_at
    return TimeLimit(end_at, scheduler, allocation.job_id)


def go_on(around: Surroundings, scheduler: Scheduler, outcome: Outcome) -> Outcome:
    """Requeue or resubmit the batch job where that may be, say what is done and why, and return the OUTCOME of it.

    The scheduler ends us soon after a requeue: all that is to be on the disk has to be there before.
    """
    job_id = around.allocation.job_id
    if outcome.kind is Kind.FINISHED or job_id is None:
        return outcome
    job = _asked(scheduler, job_id, around.report)
    decided = plan(_facts(around, outcome, job))
    if decided.next is Next.EXIT:
        return _exit(around, scheduler, outcome, decided)
    try:
        if decided.next is Next.REQUEUE:
            _requeue(around, scheduler, job_id, decided.why)
        else:
            _resubmit(around, scheduler, job_id, decided.why)
    except BatchError as error:
        return _exit(around, scheduler, outcome, Plan(Next.EXIT, error.what, line_helps=True))
    return outcome


def _requeue(around: Surroundings, scheduler: Scheduler, job_id: str, why: str) -> None:
    """Put the job back into the queue; a scheduler that is silent just now is tried again for a while."""
    argv, until, has_told = scheduler.requeue(job_id), time.monotonic() + INSIST_S, False
    around.report.say(f"requeueing {scheduler.name} job {job_id}: {why}", event="requeue", scheduler_job=job_id)
    around.store.follows(Next.REQUEUE.value, why=why)
    while (silence := _silence(around, scheduler, job_id, argv)) is not None:
        if time.monotonic() > until:
            raise silence
        if not has_told:
            tried = f"trying again for {format_duration(INSIST_S)}; should that be in vain, type later"
            around.report.warn(f"{silence.what}; {tried}: {shlex.join(argv)}")
            has_told = True
        around.store.lock.beat()
        time.sleep(_AGAIN_S)


def _silence(around: Surroundings, scheduler: Scheduler, job_id: str, argv: Sequence[str]) -> BatchError | None:
    """Run ARGV, which requeues; return the error of a scheduler that is silent. Raises BatchError where it refuses."""
    try:
        _run(argv, around.allocation)
    except BatchError:
        try:
            job = ask(scheduler, job_id)
        except BatchError as silence:
            return silence
        was_heard = job is not None and job.restarts > around.allocation.restarts
        if not was_heard:
            raise
    return None


def _resubmit(around: Surroundings, scheduler: Scheduler, job_id: str, why: str) -> None:
    report, store = around.report, around.store
    argv = scheduler.resubmission(job_id, store.layout.batch_script)
    text = f"submitting the script of {scheduler.name} job {job_id} again, to run after it"
    report.say(f"{text}: {why}", event="resubmit", scheduler_job=job_id)
    store.follows(Next.RESUBMIT.value, why=why)
    next_job = _run(argv, around.allocation).partition(";")[0]
    report.say(f"submitted as job {next_job}", event="resubmitted", scheduler_job=next_job)
    store.follows(Next.RESUBMIT.value, why=why, next_job=next_job)


def _asked(scheduler: Scheduler, job_id: str, report: Report) -> BatchJob | None:
    try:
        return ask(scheduler, job_id)
    except BatchError as error:
        report.warn(error.what)
        return None


def _facts(around: Surroundings, outcome: Outcome, job: BatchJob | None) -> Facts:
    store = around.store
    history = read_history(store.layout)
    mine = [line for line in history if line.get("epoch") == store.epoch and "ran_s" in line]
    most = os.environ.get(MOST_RESTARTS, "")
    return Facts(
        stopped_for=outcome.stopped_for,
        has_new_generation=bool(mine) and _verifies(around, mine[-1].get("generation")),
        fruitless=fruitless(history, around.job.lineage),
        at_limit=Next(around.options.at_limit) if around.options.at_limit else None,
        batch_job=job,
        restarts=around.allocation.restarts,
        most_restarts=int(most) if most.isdecimal() else None,
    )


def _verifies(around: Surroundings, generation: object) -> bool:
    try:
        return isinstance(generation, int) and verify(around.store.layout, generation).generation == generation
    except StoreError as error:
        around.report.warn(error.what)
        return False


def _exit(around: Surroundings, scheduler: Scheduler, outcome: Outcome, decided: Plan) -> Outcome:
    """Say why the job is not requeued, with the line that the user can type; return how the attempt ended then."""
    text = f"not requeued: {decided.why}"
    if decided.line_helps:
        text += f"; to go on, type: {_line(around, scheduler)}"
    around.report.warn(text)
    around.store.follows(f"nothing: {decided.why}", why=decided.why)
    if not decided.is_stuck:
        return outcome
    # some sites requeue whatever exits with the status of a checkpointed job
    return replace(outcome, status=FAILED_STATUS)


def _line(around: Surroundings, scheduler: Scheduler) -> str:
    """Return what submits the same batch script with the same options again, as the same chain.

    From a scheduler that is silent just now, these cannot be had: later it may take the job back that it knows.
    """
    allocation = around.allocation
    job_id = allocation.job_id or ""
    try:
        argv = [
            "env",
            f"{CHAIN}={allocation.origin}",
            *scheduler.resubmission(job_id, around.store.layout.batch_script),
        ]
    except BatchError:
        argv = list(scheduler.requeue(job_id))
    return shlex.join(argv)


def _run(argv: Sequence[str], allocation: Allocation) -> str:
    """Run a command of the scheduler's; return what it says. Raises BatchError where it refuses."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_JOB)}
    environ |= {name: os.environ[name] for name in _OF_THE_SITE if name in os.environ}
    try:
        result = run_tool(argv, timeout_s=_COMMAND_S, env={**environ, CHAIN: allocation.origin or ""})
    except EngineError as error:
        raise BatchError(error.what, error.hint) from error
    if result.status not in (0, -signal.SIGTERM):
        raise BatchError(f"'{shlex.join(argv[:2])}' was refused: {' '.join(result.output.split())}")
    return result.output.strip()
