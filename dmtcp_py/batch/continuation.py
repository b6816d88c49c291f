"""Continues a batch job after an attempt that did not finish: requeues it, resubmits it, or reports why not."""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.batch import chain
from dmtcp_py.batch.allocation import CHAIN
from dmtcp_py.batch.requeue import Decision, EndedAttempt, Next, attempts_without_progress, decide
from dmtcp_py.batch.scheduler import BatchState, job_of
from dmtcp_py.errors import FAILED_STATUS, BatchError, EngineError, NoResubmissionError, StoreError
from dmtcp_py.store.history import read_history
from dmtcp_py.store.verify import verify
from dmtcp_py.system.tools import run_tool
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import BatchJob, Scheduler
    from dmtcp_py.messages import Report
    from dmtcp_py.store.store import Store

MOST_RESTARTS = "DMTCP_RUN_MAX_REQUEUES"
"""Environment variable with which a site or a user limits the number of requeues of a job."""
RETRY_S = 300.0
"""How long to retry a requeue while the scheduler does not answer; it cannot end the job in that time either."""
_COMMAND_TIMEOUT_S = 60.0
_RETRY_INTERVAL_S = 5.0
_JOB_PREFIXES = ("SLURM_", "SBATCH_", "PBS_", "LSB_", "SGE_")
"""Beginnings of the variables that describe the job around us, which a new job must not inherit."""
_SITE_VARIABLES = ("SLURM_CONF", "PBS_SERVER", "PBS_CONF_FILE")
"""Variables that the scheduler's commands need although they begin like those of a job."""


class Continuation(Struct, frozen=True):
    """The continuation of batch job JOB_ID. `carry_out` is called once, after the attempt has written everything."""

    job_id: str
    scheduler: Scheduler
    allocation: Allocation
    store: Store
    lineage: int
    at_limit: str | None
    checkpointed_status: int
    report: Report

    def carry_out(self, *, stopped_for: str | None, status: int) -> int:
        """Requeue or resubmit the batch job if that is wanted and allowed; return the exit status of the attempt.

        STOPPED_FOR is the reason for the last checkpoint, and STATUS the exit status otherwise. Soon after a requeue
        the scheduler ends this process.
        """
        decision = decide(self._ended_attempt(stopped_for))
        if decision.next is Next.EXIT:
            return self._exit(decision, status)
        try:
            if decision.next is Next.REQUEUE:
                return self._requeue(decision.why, status)
            self._resubmit(decision.why)
            return self._status_without_requeue(status)
        except BatchError as error:
            return self._exit(Decision(Next.EXIT, error.what, shows_command=True), status)

    def _ended_attempt(self, stopped_for: str | None) -> EndedAttempt:
        history = read_history(self.store.layout)
        checkpoints = [line for line in history if line.get("epoch") == self.store.epoch and "ran_s" in line]
        most = os.environ.get(MOST_RESTARTS, "")
        return EndedAttempt(
            stopped_for=stopped_for,
            has_new_generation=bool(checkpoints) and self._verifies(checkpoints[-1].get("generation")),
            without_progress=attempts_without_progress(history, self.lineage),
            at_limit=Next(self.at_limit) if self.at_limit else None,
            usual=Next.REQUEUE if self.scheduler.users_requeue else Next.RESUBMIT,
            batch_job=self._batch_job(),
            restarts=self.allocation.restarts,
            most_restarts=int(most) if most.isdecimal() else None,
        )

    def _batch_job(self) -> BatchJob | None:
        try:
            return job_of(self.scheduler, self.job_id)
        except BatchError as error:
            self.report.warn(error.what)
            return None

    def _verifies(self, generation: object) -> bool:
        try:
            return isinstance(generation, int) and verify(self.store.layout, generation).generation == generation
        except StoreError as error:
            self.report.warn(error.what)
            return False

    def _requeue(self, why: str, status: int) -> int:
        """Requeue the job; return the exit status of the attempt, which may be what requeues it.

        While the scheduler does not answer, this is retried for RETRY_S; then its BatchError is raised.
        """
        argv = self.scheduler.requeue(self.job_id)
        if not argv and not self.scheduler.requeues_status(self.checkpointed_status):
            raise BatchError(f"{self.scheduler.name} does not requeue this job for status {self.checkpointed_status}")
        name = self.scheduler.name
        text = f"requeueing {name} job {self.job_id}: {why}; {name} may say 'cancelled' now, and starts it again later"
        self.report.say(text, event="requeue", scheduler_job=self.job_id)
        self.store.record_continuation(Next.REQUEUE.value, why=why)
        if not argv:
            return self.checkpointed_status
        self._requeue_by(argv)
        return status

    def _requeue_by(self, argv: Sequence[str]) -> None:
        until, has_warned = time.monotonic() + RETRY_S, False
        while (error := self._try_requeue(argv)) is not None:
            if time.monotonic() > until:
                raise error
            if not has_warned:
                retry = f"retrying for {format_duration(RETRY_S)}; if that fails, run later"
                self.report.warn(f"{error.what}; {retry}: {shlex.join(argv)}")
                has_warned = True
            time.sleep(_RETRY_INTERVAL_S)

    def _try_requeue(self, argv: Sequence[str]) -> BatchError | None:
        """Run the requeue command ARGV; return a BatchError if the scheduler does not answer, None after success.

        Raises BatchError if the scheduler refuses the requeue.
        """
        try:
            self._run(argv)
        except BatchError:
            try:
                job = job_of(self.scheduler, self.job_id)
            except BatchError as no_answer:
                return no_answer
            is_requeued = job is not None and (job.restarts or 0) > self.allocation.restarts
            if not is_requeued:
                raise
        return None

    def _resubmit(self, why: str) -> None:
        argv = self.scheduler.resubmission(self.job_id, self.store.layout.batch_script)
        self._offer()
        text = f"resubmitting the script of {self.scheduler.name} job {self.job_id}, to run after it"
        self.report.say(f"{text}: {why}", event="resubmit", scheduler_job=self.job_id)
        self.store.record_continuation(Next.RESUBMIT.value, why=why)
        # messages of the site may precede the job id
        next_job = self._run(argv).splitlines()[-1].partition(";")[0]
        self.report.say(f"submitted as job {next_job}", event="resubmitted", scheduler_job=next_job)
        self.store.record_continuation(Next.RESUBMIT.value, why=why, next_job=next_job)

    def _exit(self, decision: Decision, status: int) -> int:
        """Report why the job is not requeued and how the user can continue it; return the exit status."""
        text = f"not requeued: {decision.why}"
        if self._has_next_task():
            text += f"; the next task of array {self.allocation.array} continues the job"
        elif decision.shows_command:
            text += f"; to continue, {self._manual_continuation()}"
        self.report.warn(text)
        self.store.record_continuation(f"nothing: {decision.why}", why=decision.why)
        if decision.is_stuck:
            return FAILED_STATUS
        return status if decision.site_may_requeue else self._status_without_requeue(status)

    def _has_next_task(self) -> bool:
        """Whether a waiting task of the array will continue this job."""
        if not self.allocation.is_array_chain:
            return False
        try:
            tasks = self.scheduler.query(self.allocation.array)
        except BatchError:
            return False
        return any(task.state is BatchState.WAITING and task.job_id != self.job_id for task in tasks)

    def _status_without_requeue(self, status: int) -> int:
        """Return STATUS, or FAILED_STATUS if the site requeues every job that exits with STATUS."""
        with suppress(BatchError):
            if status == self.checkpointed_status and self.scheduler.requeues_status(status):
                text = f"exiting with {FAILED_STATUS}, because this site requeues jobs that exit with {status}"
                self.report.say(text, event="status", status=FAILED_STATUS)
                return FAILED_STATUS
        return status

    def _manual_continuation(self) -> str:
        """Return what the user can do: the command that submits the same script with the same options and chain.

        If the scheduler does not answer now, this is the command that requeues the job once it does.
        """
        try:
            argv = self.scheduler.resubmission(self.job_id, self.store.layout.batch_script)
        except NoResubmissionError as error:
            return error.hint
        except BatchError:
            requeue = self.scheduler.requeue(self.job_id)
            return f"run: {shlex.join(requeue)}" if requeue else "submit the same script again"
        self._offer()
        return f"run: {shlex.join(['env', f'{CHAIN}={self.job_id}', *argv])}"

    def _offer(self) -> None:
        chain.offer(self.allocation, self.store.layout.root.parent)

    def _run(self, argv: Sequence[str]) -> str:
        """Run a command of the scheduler and return its output. Raises BatchError if it fails."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_JOB_PREFIXES)}
        environ |= {name: os.environ[name] for name in _SITE_VARIABLES if name in os.environ}
        try:
            result = run_tool(argv, timeout_s=_COMMAND_TIMEOUT_S, env={**environ, CHAIN: self.job_id})
        except EngineError as error:
            raise BatchError(error.what, error.hint) from error
        if result.status not in (0, 128 + signal.SIGTERM):
            raise BatchError(f"'{shlex.join(argv[:2])}' was refused: {' '.join(result.output.split())}")
        return result.output.strip()
