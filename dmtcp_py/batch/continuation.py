"""How a batch job continues after an attempt that did not finish: requeue, resubmit, or exit with the reason."""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
"""The environment variable with which a site or a user limits how often a job is requeued."""
INSIST_S = 300.0
"""How long a scheduler that does not answer is tried again; meanwhile it cannot end a job either."""
_COMMAND_S = 60.0
_AGAIN_S = 5.0
_OF_THE_JOB = ("SLURM_", "SBATCH_", "PBS_", "LSB_", "SGE_")
_OF_THE_SITE = ("SLURM_CONF", "PBS_SERVER", "PBS_CONF_FILE")


@dataclass(frozen=True)
class Continuation:
    """The continuation of batch job JOB_ID; `carry_out` is called once, when all that the attempt did is on disk."""

    job_id: str
    scheduler: Scheduler
    allocation: Allocation
    store: Store
    lineage: int
    at_limit: str | None
    checkpointed_status: int
    report: Report

    def carry_out(self, *, stopped_for: str | None, status: int) -> int:
        """Requeue or resubmit the batch job where that is wanted and allowed; return what to exit with.

        STOPPED_FOR is why the last checkpoint was taken, and STATUS what the attempt would exit with. The scheduler
        ends this process soon after a requeue.
        """
        decision = decide(self._ended_attempt(stopped_for))
        if decision.next is Next.EXIT:
            return self._exit(decision, status)
        try:
            if decision.next is Next.REQUEUE:
                self._requeue(decision.why)
                return status
            self._resubmit(decision.why)
            return self._status_that_stays(status)
        except BatchError as error:
            return self._exit(Decision(Next.EXIT, error.what, line_helps=True), status)

    def _ended_attempt(self, stopped_for: str | None) -> EndedAttempt:
        history = read_history(self.store.layout)
        mine = [line for line in history if line.get("epoch") == self.store.epoch and "ran_s" in line]
        most = os.environ.get(MOST_RESTARTS, "")
        return EndedAttempt(
            stopped_for=stopped_for,
            has_new_generation=bool(mine) and self._verifies(mine[-1].get("generation")),
            without_progress=attempts_without_progress(history, self.lineage),
            at_limit=Next(self.at_limit) if self.at_limit else None,
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

    def _requeue(self, why: str) -> None:
        """Put the job back into the queue; a scheduler that does not answer just now is tried again for a while."""
        argv, until, has_warned = self.scheduler.requeue(self.job_id), time.monotonic() + INSIST_S, False
        text = f"requeueing {self.scheduler.name} job {self.job_id}: {why}"
        self.report.say(text, event="requeue", scheduler_job=self.job_id)
        self.store.record_continuation(Next.REQUEUE.value, why=why)
        while (silence := self._silence(argv)) is not None:
            if time.monotonic() > until:
                raise silence
            if not has_warned:
                tried = f"trying again for {format_duration(INSIST_S)}; if that does not help, type later"
                self.report.warn(f"{silence.what}; {tried}: {shlex.join(argv)}")
                has_warned = True
            self.store.lock.beat()
            time.sleep(_AGAIN_S)

    def _silence(self, argv: Sequence[str]) -> BatchError | None:
        """Run ARGV, which requeues; return the error of a scheduler that does not answer.

        Raises BatchError if it refuses.
        """
        try:
            self._run(argv)
        except BatchError:
            try:
                job = job_of(self.scheduler, self.job_id)
            except BatchError as silence:
                return silence
            was_heard = job is not None and job.restarts > self.allocation.restarts
            if not was_heard:
                raise
        return None

    def _resubmit(self, why: str) -> None:
        argv = self.scheduler.resubmission(self.job_id, self.store.layout.batch_script)
        self._offer()
        text = f"submitting the script of {self.scheduler.name} job {self.job_id} again, to run after it"
        self.report.say(f"{text}: {why}", event="resubmit", scheduler_job=self.job_id)
        self.store.record_continuation(Next.RESUBMIT.value, why=why)
        # a site's own messages may come before it
        next_job = self._run(argv).splitlines()[-1].partition(";")[0]
        self.report.say(f"submitted as job {next_job}", event="resubmitted", scheduler_job=next_job)
        self.store.record_continuation(Next.RESUBMIT.value, why=why, next_job=next_job)

    def _exit(self, decision: Decision, status: int) -> int:
        """Say why the job is not requeued, with the line that the user can type; return what to exit with."""
        text = f"not requeued: {decision.why}"
        if self._has_next_task():
            text += f"; the next task of array {self.allocation.array} goes on"
        elif decision.line_helps:
            text += f"; to go on, {self._line_to_type()}"
        self.report.warn(text)
        self.store.record_continuation(f"nothing: {decision.why}", why=decision.why)
        if decision.is_stuck:
            return FAILED_STATUS
        return status if decision.is_up_to_site else self._status_that_stays(status)

    def _has_next_task(self) -> bool:
        """Whether another task of the array waits to continue this job."""
        if not self.allocation.is_link:
            return False
        try:
            tasks = self.scheduler.query(self.allocation.array)
        except BatchError:
            return False
        return any(task.state is BatchState.WAITING and task.job_id != self.job_id for task in tasks)

    def _status_that_stays(self, status: int) -> int:
        """Return STATUS, or another one if the site requeues every job that exits with STATUS."""
        with suppress(BatchError):
            if status == self.checkpointed_status and self.scheduler.comes_back(status):
                text = f"exiting with {FAILED_STATUS}, because this site requeues jobs that exit with {status}"
                self.report.say(text, event="status", status=FAILED_STATUS)
                return FAILED_STATUS
        return status

    def _line_to_type(self) -> str:
        """Return what submits the same batch script with the same options again, as the same chain.

        If the scheduler does not answer just now, return what requeues the job once it does.
        """
        try:
            argv = self.scheduler.resubmission(self.job_id, self.store.layout.batch_script)
        except NoResubmissionError as error:
            return error.hint
        except BatchError:
            return f"type: {shlex.join(self.scheduler.requeue(self.job_id))}"
        self._offer()
        return f"type: {shlex.join(['env', f'{CHAIN}={self.job_id}', *argv])}"

    def _offer(self) -> None:
        chain.offer(self.allocation, self.store.layout.root.parent)

    def _run(self, argv: Sequence[str]) -> str:
        """Run a command of the scheduler's and return its output. Raises BatchError if it is refused."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_JOB)}
        environ |= {name: os.environ[name] for name in _OF_THE_SITE if name in os.environ}
        try:
            result = run_tool(argv, timeout_s=_COMMAND_S, env={**environ, CHAIN: self.job_id})
        except EngineError as error:
            raise BatchError(error.what, error.hint) from error
        if result.status not in (0, 128 + signal.SIGTERM):
            raise BatchError(f"'{shlex.join(argv[:2])}' was refused: {' '.join(result.output.split())}")
        return result.output.strip()
