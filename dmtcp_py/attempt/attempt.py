"""One attempt from its plan to its outcome: start the program, supervise it, recover if an engine fails."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmtcp_py.attempt import another_engine, moved
from dmtcp_py.attempt.another_engine import End
from dmtcp_py.attempt.context import AttemptContext
from dmtcp_py.attempt.identity import keep_stdin
from dmtcp_py.attempt.outcome import Kind, Outcome, is_crash
from dmtcp_py.attempt.plan import make_plan
from dmtcp_py.attempt.start import SHARED, Starter
from dmtcp_py.attempt.state import end_state
from dmtcp_py.attempt.stdio import fed, forget_input, notes_on_start
from dmtcp_py.attempt.supervisor import SIGNALS, Supervisor
from dmtcp_py.batch.continuation import Continuation
from dmtcp_py.batch.time_limit import find_time_limit
from dmtcp_py.errors import EngineError
from dmtcp_py.store import requests
from dmtcp_py.store.records import utc_now
from dmtcp_py.system.events import EventStream
from dmtcp_py.system.files import remove_temporaries
from dmtcp_py.system.prctl import become_subreaper
from dmtcp_py.system.reaping import end_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.attempt.start import Running
    from dmtcp_py.batch.time_limit import TimeLimit
    from dmtcp_py.messages import Report
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.store import Store

_ALLOWED = "--allow-unprotected"
MOST_RECOVERIES = 3
"""How often in a row, without a new generation, an attempt recovers after an engine failed."""


def run(options: RunOptions, report: Report) -> Outcome:
    """Run one attempt of the job that OPTIONS mean, from launch or restart to its end, and return how it ended.

    Takes over the process's signals, its children and, for the program, its standard streams. Raises DmtcpRunError
    if nothing could be started; then nothing on disk has changed but the history.
    """
    with make_plan(options, report) as plan:
        status, name = plan.start.finished, plan.store.layout.name
        if status is not None:
            text = f"finished with status {status} in an earlier run of this batch job; another batch job runs it again"
            report.say(text, event="finished", status=status, job=name)
            return Outcome(Kind.FINISHED, status, name, detail="earlier")
        return _Attempt(plan, report).run()


@contextmanager
def _no_temporaries_left(owner: Path, stage_local: Path | None) -> Iterator[None]:
    """Remove at the end what an engine refused before it took it over, and what it wrote to a disk of this node."""
    try:
        yield
    finally:
        remove_temporaries(owner)
        remove_temporaries(owner, SHARED)
        if stage_local is not None:
            remove_temporaries(owner, stage_local)


@dataclass(frozen=True)
class _Attempt:
    """The steps around the computations of one attempt."""

    plan: Plan
    report: Report

    def run(self) -> Outcome:
        plan, store = self.plan, self.plan.store
        self._prepare()
        with closing(EventStream(SIGNALS)) as stream, _no_temporaries_left(store.layout.root, plan.options.stage_local):
            limit = self._time_limit()
            with fed(plan, stream.post, self.report.warn) as feed:
                context = AttemptContext(
                    plan=plan, report=self.report, stream=stream, limit=limit, started=utc_now(), feed=feed
                )
                if not plan.start.candidates:
                    for text in notes_on_start(plan.stdio):
                        self.report.warn(text)
                end = self._run(context)
            self._record_end(context, end)
            return self._continue_batch_job(end.outcome)

    def _time_limit(self) -> TimeLimit:
        plan = self.plan
        at_most = plan.options.time_limit_s
        return find_time_limit(at_most, plan.allocation, plan.scheduler, plan.batch_job, self.report.warn)

    def _prepare(self) -> None:
        plan, store = self.plan, self.plan.store
        _end_former(store, self.report)
        for owner in moved.paths_of(store.layout, plan.start.job):
            remove_temporaries(owner)
            remove_temporaries(owner, SHARED)
        become_subreaper()
        Starter(plan, self.report).make_room()
        requests.clear(store.layout)
        if plan.start.begins_lineage:
            keep_stdin(plan.identity, store.layout)
            store.write_job(plan.start.job)

    def _run(self, context: AttemptContext) -> End:
        """Run the program to its end; with another engine if the first loses it or cannot checkpoint it."""
        end = self._run_until_it_ends(self.plan, context)
        again = another_engine.plan_after(end, self.plan, context)
        if again is None:
            if end.is_lost_at_start:
                another_engine.advise(end, self.report)
            return end
        another_engine.announce(end, self.plan, again, self.report)
        Starter(again, self.report, context.feed).make_room()
        try:
            second = self._run_until_it_ends(again, context)
        except EngineError as error:
            self.report.warn(f"it could not be started once more: {error}")
            return end
        if second.is_lost_at_start:
            self.report.warn(f"{another_engine.at_start(second.outcome)} with {second.engine_text} too")
        return second

    def _run_until_it_ends(self, plan: Plan, context: AttemptContext) -> End:
        """Launch or resume the program as PLAN says, and recover it from its generations where its engine loses it."""
        starter = Starter(plan, self.report, context.feed)
        candidates, failures = plan.start.candidates, 0
        doubted: int | None = None
        while True:
            running = starter.resume(candidates, context.stream) if candidates else starter.launch()
            if running is None:
                return End(outcome=self._stopped_in_restart(candidates[0]))
            supervisor = Supervisor(context, running)
            outcome = self._supervise(supervisor, running)
            failures = 1 if supervisor.has_committed else failures + 1
            candidates = plan.store.layout.generations_from(plan.start.job.first_generation)
            stops = supervisor.was_asked_to_stop or not candidates or failures > MOST_RECOVERIES
            # a crash after a restart may be the restart's fault: one that comes again is the program's own
            is_doubtful = running.parent is not None and is_crash(outcome) and outcome.status != doubted
            if stops or not (outcome.kind is Kind.ENGINE_FAILED or is_doubtful):
                return End(
                    outcome=outcome,
                    choice=running.choice,
                    ran_s=supervisor.ran_s,
                    may_start_again=not candidates and not supervisor.was_asked_to_stop,
                )
            doubted = outcome.status if is_doubtful else doubted
            self._warn_of_recovery(outcome, running)
            starter.make_room()

    def _supervise(self, supervisor: Supervisor, running: Running) -> Outcome:
        try:
            return supervisor.run()
        finally:
            running.computation.kill()
            if running.computation.close():
                self.report.say("processes that the program had left behind were ended", event="ended")

    def _stopped_in_restart(self, generation: int) -> Outcome:
        return Outcome(
            Kind.CHECKPOINTED,
            self.plan.checkpointed_status,
            self.plan.store.layout.name,
            generation=generation,
            detail="stopped in a restart",
        )

    def _warn_of_recovery(self, outcome: Outcome, running: Running) -> None:
        if outcome.kind is Kind.ENGINE_FAILED:
            text, error = f"{running.choice.engine.name} lost the program ({outcome.detail})", outcome.detail
        else:
            error = f"crashed with status {outcome.status} after a restart"
            text = f"the program {error}, which may be the fault of the restart"
        self.report.warn(f"{text}; resuming the last good generation")
        self.plan.store.record("failed", what="engine", error=error, raw=outcome.raw)

    def _record_end(self, context: AttemptContext, end: End) -> None:
        plan, store, outcome = self.plan, self.plan.store, end.outcome
        store.write_state(end_state(context, outcome, end.engine_text), durable=True)
        store.record(
            outcome.kind.value.replace(" ", "-"),
            lineage=plan.start.job.lineage,
            status=outcome.status,
            generation=outcome.generation,
            detail=outcome.detail,
            raw=outcome.raw,
            stopped_for=outcome.stopped_for,
        )
        if outcome.kind is Kind.FINISHED:
            verdicts = store.prune(keep=1, lineage=plan.start.job.lineage)
            forget_input(plan, [verdict.number for verdict in verdicts if verdict.keep])
        self.report.say(_last_line(outcome), event=outcome.kind.value, status=outcome.status, job=outcome.job)

    def _continue_batch_job(self, outcome: Outcome) -> Outcome:
        """Have the batch job go on if it is not finished; return the outcome with the status to exit with."""
        plan, job_id = self.plan, self.plan.allocation.job_id
        if job_id is None or outcome.kind is Kind.FINISHED:
            return outcome
        if plan.scheduler is None:
            name = plan.allocation.scheduler
            self.report.warn(f"not requeued: dmtcp-run cannot talk to {name}; submit the same script again")
            return outcome
        continuation = Continuation(
            job_id=job_id,
            scheduler=plan.scheduler,
            allocation=plan.allocation,
            store=plan.store,
            lineage=plan.start.job.lineage,
            at_limit=plan.options.at_limit,
            checkpointed_status=plan.checkpointed_status,
            report=self.report,
        )
        return replace(outcome, status=continuation.carry_out(stopped_for=outcome.stopped_for, status=outcome.status))


def _end_former(store: Store, report: Report) -> None:
    """Make sure that no process of an attempt that was killed on this machine still writes."""
    if store.before is None or store.before.record.released or not store.before.is_here:
        return
    state = store.state()
    if state is None:
        return
    if end_leftovers(state.processes):
        text = f"ended leftover processes of the previous attempt (epoch {store.before.record.epoch})"
        report.say(text, event="ended")


def _with_way_out(detail: str) -> str:
    return detail if _ALLOWED in detail else f"{detail}; or run it with {_ALLOWED}"


def _last_line(outcome: Outcome) -> str:
    if outcome.generation:
        again = f"the same line resumes from generation {outcome.generation}"
    else:
        again = "there is no generation yet, so the same line starts the program again"
    return {
        Kind.FINISHED: f"finished with status {outcome.status}",
        Kind.CHECKPOINTED: f"checkpointed and stopped; {again}",
        Kind.SIGNALLED: f"{outcome.detail or f'the program was killed by signal {outcome.status - 128}'}; {again}",
        Kind.STOPPED: f"stopped at once; {again}",
        Kind.REFUSED: f"stopped, because it cannot be checkpointed: {_with_way_out(outcome.detail)}",
        Kind.UNSUITABLE: f"the program failed: {outcome.detail}",
        Kind.OUT_OF_TIME: f"stopped, because the time is over and the last checkpoint failed ({outcome.detail}); "
        f"{again}",
        Kind.KILLED_BY_COMMAND: f"somebody's {outcome.detail} killed the program; {again}",
        Kind.ENGINE_FAILED: f"the engine failed: {outcome.detail}; {again}",
    }[outcome.kind]
