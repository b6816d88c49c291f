"""One attempt from its plan to its outcome: start the program, supervise it, recover if an engine fails."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.attempt import another_engine, former, moved
from dmtcp_py.attempt.another_engine import End
from dmtcp_py.attempt.context import AttemptContext
from dmtcp_py.attempt.continuing import continue_batch_job
from dmtcp_py.attempt.gate import find_gate
from dmtcp_py.attempt.gate_wait import wait_until_open
from dmtcp_py.attempt.identity import keep_stdin
from dmtcp_py.attempt.interruptions import auto_of
from dmtcp_py.attempt.last_line import last_line
from dmtcp_py.attempt.lease import Lease
from dmtcp_py.attempt.mirroring import Mirrors
from dmtcp_py.attempt.outcome import Kind, Outcome, is_crash
from dmtcp_py.attempt.outputs import sole_writer
from dmtcp_py.attempt.plan import make_plan
from dmtcp_py.attempt.sealing import Sealing
from dmtcp_py.attempt.start import SHARED, Starter
from dmtcp_py.attempt.state import end_state
from dmtcp_py.attempt.stdio import fed, forget_input
from dmtcp_py.attempt.supervisor import SIGNALS, Supervisor
from dmtcp_py.batch.requeue import GATE
from dmtcp_py.batch.time_limit import find_time_limit
from dmtcp_py.errors import EngineError
from dmtcp_py.store import requests
from dmtcp_py.store.records import utc_now
from dmtcp_py.system.events import EventStream
from dmtcp_py.system.files import remove_abandoned, remove_temporaries
from dmtcp_py.system.prctl import become_subreaper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dmtcp_py.attempt.gate import Gate
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.attempt.start import Running
    from dmtcp_py.batch.time_limit import TimeLimit
    from dmtcp_py.messages import Report
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.store import Store

MOST_HANGS = 3
"""How often in a row a checkpoint may hang before the job goes on without."""
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
def _no_temporaries_left(store: Store, stage_local: Path | None) -> Iterator[None]:
    """Remove at the end what an engine left: refused before it took it over, not committed, on a disk of this node."""
    owner = store.layout.root
    try:
        yield
    finally:
        store.clear()
        remove_temporaries(owner)
        remove_temporaries(owner, SHARED)
        if stage_local is not None:
            remove_temporaries(owner, stage_local)


class _Attempt(Struct, frozen=True):
    """The steps around the computations of one attempt."""

    plan: Plan
    report: Report

    def run(self) -> Outcome:
        plan, store = self.plan, self.plan.store
        gate = find_gate(plan, self.report)
        with (
            sole_writer(plan) as make_outputs,
            closing(Lease(store, self.report)) as lease,
            closing(EventStream(SIGNALS)) as stream,
            _no_temporaries_left(store, plan.options.stage_local),
        ):
            lease.begin(lambda: stream.post(None))
            self._prepare()
            limit = self._time_limit()
            with (
                fed(plan, stream.post, self.report.warn) as feed,
                closing(Mirrors(plan, self.report, stream.post)) as mirrors,
                closing(Sealing(plan, self.report)) as sealing,
            ):
                context = AttemptContext(
                    plan=plan,
                    report=self.report,
                    stream=stream,
                    limit=limit,
                    started=utc_now(),
                    gate=gate,
                    lease=lease,
                    feed=feed,
                    mirrors=mirrors,
                    auto=auto_of(plan),
                    sealing=sealing,
                    make_outputs=make_outputs,
                )
                end = self._run(context)
                self._record_end(context, end)
                mirrors.finish(end.outcome, stream, limit.end_at)
            return continue_batch_job(self.plan, self.report, end.outcome)

    def _time_limit(self) -> TimeLimit:
        plan = self.plan
        at_most = plan.options.time_limit_s
        return find_time_limit(at_most, plan.allocation, plan.scheduler, plan.batch_job, self.report.warn)

    def _prepare(self) -> None:
        plan, store = self.plan, self.plan.store
        former.end_leftovers_of(store, self.report)
        for owner in moved.paths_of(store.layout, plan.start.job):
            remove_temporaries(owner)
            remove_temporaries(owner, SHARED)
        for place in (None, SHARED, plan.options.stage_local):
            remove_abandoned(place)
        become_subreaper()
        Starter(plan, self.report).make_room()
        requests.clear(store.layout)
        if plan.start.begins_lineage:
            keep_stdin(plan.identity, store.layout)
            store.write_job(plan.start.job)

    def _run(self, context: AttemptContext) -> End:
        """Run the program to its end, while the gate is open."""
        plan, gate = self.plan, context.gate
        while True:
            newest = plan.start.candidates[0] if plan.start.candidates else None
            if (reason := wait_until_open(gate, context, newest)) is not None:
                return End(outcome=self._held(gate, newest, reason))
            end = self._run_with_engines(plan, context)
            is_held = end.outcome.kind is Kind.CHECKPOINTED and end.outcome.stopped_for == GATE
            if not gate.waits or not is_held:
                return end
            plan = plan.to_resume()
            Starter(plan, self.report).make_room()

    def _held(self, gate: Gate, newest: int | None, reason: str) -> Outcome:
        return Outcome(
            kind=Kind.HELD,
            status=self.plan.checkpointed_status,
            job=self.plan.store.layout.name,
            generation=newest,
            detail=gate.state,
            stopped_for=reason,
        )

    def _run_with_engines(self, plan: Plan, context: AttemptContext) -> End:
        """Run the program to its end; with another engine if the first loses it or cannot checkpoint it."""
        end = self._run_until_it_ends(plan, context)
        again = another_engine.plan_after(end, plan, context)
        if again is None:
            if end.is_lost_at_start:
                another_engine.advise(end, self.report)
            return end
        another_engine.announce(end, plan, again, self.report)
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
        starter = Starter(plan=plan, report=self.report, feed=context.feed, limit=context.limit)
        candidates, failures, hangs = plan.start.candidates, 0, 0
        doubted: int | None = None
        first: Running | None = None
        while True:
            if not candidates:
                context.make_outputs()
            running = starter.resume(candidates, context.stream) if candidates else starter.launch()
            if running is None:
                return End(outcome=self._stopped_in_restart(candidates[0]))
            first = first or running
            supervisor = Supervisor(context, running)
            outcome = self._supervise(supervisor, running, context.lease)
            may_go_back = not supervisor.was_asked_to_stop and (first.parent is not None or context.feed is None)
            if context.lease.former_ran_on() and former.goes_back(plan.store, self.report, may=may_go_back):
                starter = replace(starter, plan=plan.from_where_it_began(first.parent))
                candidates = starter.plan.start.candidates
                starter.make_room()
                continue
            failures = 1 if supervisor.has_committed else failures + 1
            hangs = outcome.has_hung * (1 if supervisor.has_committed else hangs + 1)
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
            self._warn_of_recovery(outcome, running, supervisor.ran_s)
            former.end_recorded(plan.store)
            if hangs == MOST_HANGS:
                context = self._without_interval(context)
            starter.make_room()

    def _without_interval(self, context: AttemptContext) -> AttemptContext:
        """Return CONTEXT without interval checkpoints: each would cost what was computed since the last good one."""
        self.report.warn(
            f"{MOST_HANGS} checkpoints in a row hung: the job goes on without interval ones; a request, a stop or "
            "the time limit has one taken still"
        )
        options = replace(context.plan.options, interval_s=None)
        return replace(context, plan=replace(context.plan, options=options))

    def _supervise(self, supervisor: Supervisor, running: Running, lease: Lease) -> Outcome:
        try:
            lease.cover(running.computation)
            return supervisor.run()
        finally:
            lease.uncover()
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

    def _warn_of_recovery(self, outcome: Outcome, running: Running, ran_s: float) -> None:
        if outcome.kind is Kind.ENGINE_FAILED:
            text, error = f"{running.choice.engine.name} lost the program ({outcome.detail})", outcome.detail
        else:
            error = f"crashed with status {outcome.status} after a restart"
            text = f"the program {error}, which may be the fault of the restart"
        self.report.warn(f"{text}; resuming the last good generation")
        self.plan.store.record("failed", what="engine", error=error, raw=outcome.raw, ran_s=round(ran_s, 3))

    def _record_end(self, context: AttemptContext, end: End) -> None:
        plan, store, outcome = self.plan, self.plan.store, end.outcome
        store.write_state(end_state(context, outcome, end.engine_text), durable=True)
        store.record(
            outcome.kind.value.replace(" ", "-"),
            lineage=plan.start.job.lineage,
            status=outcome.status,
            generation=outcome.generation,
            ran_s=round(end.ran_s, 3),
            detail=outcome.detail,
            raw=outcome.raw,
            stopped_for=outcome.stopped_for,
        )
        if outcome.kind is Kind.FINISHED:
            verdicts = store.prune(keep=1, lineage=plan.start.job.lineage)
            forget_input(plan, [verdict.number for verdict in verdicts if verdict.keep])
        self.report.say(last_line(outcome), event=outcome.kind.value, status=outcome.status, job=outcome.job)
