"""What a batch job does after an attempt, carried out: when it has to end, and how it goes on."""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dmtcp_py.batch import CHAIN, BatchState
from dmtcp_py.errors import BatchError, EngineError, NoResubmissionError, StoreError
from dmtcp_py.files import write_atomic
from dmtcp_py.limit import TimeLimit, ask, end_of
from dmtcp_py.outcome import FAILED_STATUS, Kind, Outcome, RunOptions
from dmtcp_py.process import run_tool
from dmtcp_py.requeue import Facts, Next, Plan, fruitless, plan
from dmtcp_py.store.layout import chain_path
from dmtcp_py.store.store import read_history
from dmtcp_py.store.verify import verify
from dmtcp_py.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    """Return the time limit of the attempt that begins now: the user's or the scheduler's, whichever comes first."""
    at_most = None if options.time_limit_s is None else time.monotonic() + options.time_limit_s
    told_at = None if allocation.ends is None else time.monotonic() + allocation.ends - time.time()
    if scheduler is None or allocation.job_id is None:
        if allocation.scheduler is not None and told_at is None and at_most is None:
            name = allocation.scheduler
            report.warn(f"{name} cannot be asked from here when the job ends: name its limit with --time-limit")
        return TimeLimit(told_at, at_most=at_most)
    try:
        end_at = end_of(ask(scheduler, allocation.job_id))
    except BatchError as error:
        report.warn(f"{error.what}; the time limit is asked for again")
        end_at = told_at
    return TimeLimit(end_at, scheduler, allocation.job_id, at_most)


def confirmed(allocation: Allocation, scheduler: Scheduler | None, directory: Path) -> Allocation:
    """Return ALLOCATION as its scheduler knows it: a job that another one submitted inherits the names of that one.

    Where the scheduler is silent the environment is believed. DIRECTORY is where jobs are kept.
    """
    job_id = allocation.job_id
    if scheduler is None or job_id is None:
        return allocation
    with suppress(BatchError):
        job = ask(scheduler, job_id)
        if job is not None:
            allocation = replace(allocation, array_task=job.array_task, array=job.array, restarts=job.restarts)
    return replace(allocation, chain=_claimed(directory, allocation.continues, job_id))


def _claimed(directory: Path, continues: str | None, job_id: str) -> str | None:
    """Return the job in which the chain began that JOB_ID continues: only the first that comes continues it."""
    if continues is None:
        return None
    path = chain_path(directory, continues)
    try:
        origin, _, claimant = path.read_text(encoding="utf-8").strip().partition(" ")
        if not claimant:
            write_atomic(path, f"{origin} {job_id}\n".encode())
    except (OSError, UnicodeDecodeError):
        return None
    return origin if claimant in ("", job_id) else None


def _offer(around: Surroundings) -> None:
    """Let the next job that is submitted to continue this one be of the same chain."""
    allocation = around.allocation
    path = chain_path(around.store.layout.root.parent, allocation.job_id or "")
    write_atomic(path, f"{allocation.origin}\n".encode())


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
            return _staying(around, scheduler, outcome)
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
    _offer(around)
    text = f"submitting the script of {scheduler.name} job {job_id} again, to run after it"
    report.say(f"{text}: {why}", event="resubmit", scheduler_job=job_id)
    store.follows(Next.RESUBMIT.value, why=why)
    # a site's messages may come before it
    next_job = _run(argv, around.allocation).splitlines()[-1].partition(";")[0]
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
    if _has_next_task(around.allocation, scheduler):
        text += f"; the next task of array {around.allocation.array} goes on"
    elif decided.line_helps:
        text += f"; to go on, {_line(around, scheduler)}"
    around.report.warn(text)
    around.store.follows(f"nothing: {decided.why}", why=decided.why)
    if decided.is_stuck:
        return replace(outcome, status=FAILED_STATUS)
    return outcome if decided.is_up_to_site else _staying(around, scheduler, outcome)


def _has_next_task(allocation: Allocation, scheduler: Scheduler) -> bool:
    """Whether another task of the array waits to continue this job."""
    if not allocation.is_link:
        return False
    try:
        tasks = scheduler.look(allocation.array)
    except BatchError:
        return False
    return any(task.state is BatchState.WAITING and task.job_id != allocation.job_id for task in tasks)


def _staying(around: Surroundings, scheduler: Scheduler, outcome: Outcome) -> Outcome:
    """Return OUTCOME with a status for which the site does not requeue the job, where that is not wanted."""
    with suppress(BatchError):
        if outcome.status == around.checkpointed_status and scheduler.comes_back(outcome.status):
            text = f"exiting with {FAILED_STATUS}, as this site requeues what exits with {outcome.status}"
            around.report.say(text, event="status", status=FAILED_STATUS)
            return replace(outcome, status=FAILED_STATUS)
    return outcome


def _line(around: Surroundings, scheduler: Scheduler) -> str:
    """Return what submits the same batch script with the same options again, as the same chain.

    From a scheduler that is silent just now, these cannot be had: later it may take the job back that it knows.
    """
    job_id = around.allocation.job_id or ""
    try:
        argv = scheduler.resubmission(job_id, around.store.layout.batch_script)
    except NoResubmissionError as error:
        return error.hint
    except BatchError:
        return f"type: {shlex.join(scheduler.requeue(job_id))}"
    _offer(around)
    return f"type: {shlex.join(['env', f'{CHAIN}={job_id}', *argv])}"


def _run(argv: Sequence[str], allocation: Allocation) -> str:
    """Run a command of the scheduler's; return what it says. Raises BatchError where it refuses."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_JOB)}
    environ |= {name: os.environ[name] for name in _OF_THE_SITE if name in os.environ}
    try:
        result = run_tool(argv, timeout_s=_COMMAND_S, env={**environ, CHAIN: allocation.job_id or ""})
    except EngineError as error:
        raise BatchError(error.what, error.hint) from error
    if result.status not in (0, 128 + signal.SIGTERM):
        raise BatchError(f"'{shlex.join(argv[:2])}' was refused: {' '.join(result.output.split())}")
    return result.output.strip()
