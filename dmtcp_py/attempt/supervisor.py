"""The event loop around one running computation: signals, requests, the clock, checkpoints, its end."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

from dmtcp_py.attempt import checkpoint, policy
from dmtcp_py.attempt.checkpoint import CheckpointDone, CheckpointSubject
from dmtcp_py.attempt.cost import CheckpointCost
from dmtcp_py.attempt.early_look import EarlyLook, LookDone
from dmtcp_py.attempt.failures import CheckpointFailures, Warnings
from dmtcp_py.attempt.feed import InputFailed
from dmtcp_py.attempt.interval import auto_s, first_s, is_worth_it
from dmtcp_py.attempt.interval import lead_s as lead_for
from dmtcp_py.attempt.outcome import Supervised, outcome_of
from dmtcp_py.attempt.state import running_state
from dmtcp_py.batch.requeue import LIMIT
from dmtcp_py.batch.time_limit import LimitAnswer
from dmtcp_py.errors import BlockedError
from dmtcp_py.messages import VERBOSE
from dmtcp_py.rollback import recording
from dmtcp_py.store.lock import HEARTBEAT_S
from dmtcp_py.store.requests import RequestQueue
from dmtcp_py.system.reaping import reap_orphans
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from dmtcp_py.attempt.context import AttemptContext
    from dmtcp_py.attempt.outcome import Outcome
    from dmtcp_py.attempt.start import Running
    from dmtcp_py.engine.protocol import ProgramEnd
    from dmtcp_py.store.records import Manifest

TICK_S = 1.0
"""How often requests and the clock are looked at."""
FORWARDED = (signal.SIGWINCH,)
SIGNALS = (*policy.STOP_SIGNALS, signal.SIGTSTP, *FORWARDED)
_WORKER_JOIN_S = 60.0


class Supervisor:
    """Supervises one computation from when it came up to its end. `run` is called once."""

    def __init__(self, context: AttemptContext, running: Running) -> None:
        plan = context.plan
        self._context = context
        self._running = running
        self._computation = running.computation
        self._newest = running.parent
        self._came_up_at = time.monotonic()
        self._cost = CheckpointCost(running.computation.pid, running.parent)
        may_refuse = running.parent is None and not plan.options.allow_unprotected
        self._situation = policy.begin(self._interval_s(), self._came_up_at, may_refuse=may_refuse)
        self._requests = RequestQueue(plan.store.layout)
        self._warnings = Warnings(context.report)
        self._failures = CheckpointFailures(plan, self._warnings)
        self._worker: threading.Thread | None = None
        self._ended_by: policy.Action | None = None
        self._early = EarlyLook(context, running)
        self._beat_at = 0.0
        self.has_committed = False
        self.ran_s = 0.0
        """How long the program ran, once it has ended."""

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether the attempt is to end, so that nothing is to be started again."""
        situation = self._situation
        # whatever comes up next sees a time limit again; a signal or a request is not sent again
        waits = situation.stop_wanted not in (None, LIMIT)
        return situation.phase is policy.Phase.STOPPING or waits or isinstance(self._ended_by, policy.StopNow)

    def run(self) -> Outcome:
        """Return how the computation ended. Raises FencedError if another attempt took over."""
        self._plan_for_limit()
        self._report_limit()
        self._write_state()
        # a limit that has come already is not to wait for a tick
        self._decide(policy.TimePassed())
        try:
            while (end := self._step()) is None:
                pass
        finally:
            self._finish_worker()
            self._requests.answer_all(ok=False, text="the program ended before a checkpoint was taken")
        return self._outcome(end)

    def _step(self) -> ProgramEnd | None:
        """Wait for something to happen and react to it; return how the program ended once it did."""
        signals, posted = self._context.stream.wait(self._wait_s())
        for signum in signals:
            self._signalled(signum)
        for event in posted:
            if isinstance(event, LimitAnswer):
                self._limit_answered(event)
            elif isinstance(event, InputFailed):
                self._computation.kill()
                self._context.plan.store.record("failed", what="input", error=str(event.error))
                raise event.error
            elif isinstance(event, LookDone):
                self._looked(event)
            else:
                self._checkpoint_done(event)
        self._beat_and_read_requests()
        self._early.begin_if_due()
        self._poll_limit()
        self._decide(policy.TimePassed())
        if self._worker is not None:
            return None
        reap_orphans(self._computation.known_pids())
        # what looks at the end of a program may wait for processes that it left behind
        self.ran_s = time.monotonic() - self._came_up_at
        end = self._computation.poll()
        if end is None and self._context.feed is not None:
            self._context.feed.let_producer_go()
        self._failures.resolve_doubt(end, self._newest)
        if end is not None:
            for signum in self._context.stream.wait(0)[0]:
                self._situation = policy.signalled_at_the_end(self._situation, signum)
        return end

    def _wait_s(self) -> float:
        """Return how long nothing needs attention; what was due and was not done is no reason to hurry."""
        now = time.monotonic()
        moments = (policy.wakes_at(self._situation), self._early.wakes_at)
        return min([TICK_S, *(at - now for at in moments if at is not None and at > now)])

    def _signalled(self, signum: int) -> None:
        if signum in FORWARDED:
            self._computation.signal(signum)
        elif signum == signal.SIGTSTP:
            self._suspend()
        elif signum in policy.STOP_SIGNALS:
            self._decide(policy.Signalled(signum))

    def _suspend(self) -> None:
        """Stop together with the program, as the terminal asked, and continue it afterwards."""
        self._computation.signal(signal.SIGSTOP)
        signal.raise_signal(signal.SIGSTOP)
        self._computation.signal(signal.SIGCONT)

    def _beat_and_read_requests(self) -> None:
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._context.plan.store.lock.beat()
        for request in self._requests.read():
            self._decide(policy.Asked(request.action))

    def _decide(self, event: policy.Event) -> None:
        self._situation, action = policy.decide(self._situation, event, time.monotonic())
        if isinstance(action, policy.Checkpoint):
            self._begin_checkpoint(action)
        elif isinstance(self._ended_by, policy.EndAttempt):
            # the last checkpoint is committed, whatever comes after it
            return
        elif isinstance(action, policy.StopNow | policy.GiveUp | policy.Refuse):
            # a checkpoint that is being taken looks for the end of the program itself
            if self._worker is not None or self._computation.poll() is None:
                self._ended_by = action
                self._computation.kill()
        elif isinstance(action, policy.EndAttempt):
            self._ended_by = action
        elif isinstance(action, policy.RunOn):
            text = "the last checkpoint failed and the program continues to run; ask once more, or kill it"
            self._context.report.warn(text)

    def _poll_limit(self) -> None:
        """Have the scheduler asked for the end of the allocation when it is time for that."""
        limit = self._context.limit
        limit.poll(self._context.stream.post)
        if limit.stop_at != self._situation.stop_at:
            self._plan_for_limit()

    def _limit_answered(self, answer: LimitAnswer) -> None:
        if self._context.limit.update(answer):
            self._report_limit()
            self._write_state()
        if answer.error is not None:
            self._warnings.warn_once(f"{answer.error.what}; using the time limit that was known before")
        self._plan_for_limit()

    def _plan_for_limit(self) -> None:
        """Work out anew when the last checkpoint has to begin."""
        limit, lead_s = self._context.limit, self._context.plan.options.lead_s
        if limit.end_at is not None:
            limit.lead_s = lead_for(self._cost.now_s(), limit.total_s) if lead_s is None else lead_s
        self._decide(policy.LimitSeen(limit.stop_at, limit.give_up_at))

    def _report_limit(self) -> None:
        limit = self._context.limit
        if limit.end_at is None:
            return
        left_s, lead = limit.end_at - time.monotonic(), format_duration(limit.lead_s)
        text = f"the time limit comes in {format_duration(max(left_s, 0))}; the last checkpoint begins {lead} before"
        self._context.report.say(text, event="limit", left_s=round(left_s), lead_s=round(limit.lead_s, 1))
        if not is_worth_it(limit.lead_s, limit.total_s):
            self._warnings.warn_once(
                f"so short a time limit leaves little for computing: the last {lead} are kept free; ask for more time"
            )

    def _begin_checkpoint(self, action: policy.Checkpoint) -> None:
        # a checkpoint that begins now answers whatever was asked until now
        self._requests.begin_answering()
        if action.then_stop:
            text = f"{action.reason}: taking the last checkpoint"
            self._context.report.say(text, event="stopping", reason=action.reason)
        subject = CheckpointSubject(
            plan=self._context.plan,
            running=self._running,
            parent=self._newest.generation if self._newest else None,
            expected_bytes=self._newest.size if self._newest and self.has_committed else None,
            feed=self._context.feed,
            came_up_at=self._came_up_at,
        )
        self._worker = threading.Thread(
            target=checkpoint.take,
            args=(subject, action.reason),
            kwargs={"then_stop": action.then_stop, "post": self._context.stream.post},
            daemon=True,
        )
        self._worker.start()

    def _checkpoint_done(self, done: CheckpointDone) -> None:
        self._finish_worker()
        if done.crash is not None:
            raise done.crash
        if done.manifest is not None:
            self._committed(done.manifest)
            self._warnings.warn_once(*done.notes)
            text, generation = f"generation {done.manifest.generation} is committed", done.manifest.generation
        else:
            self._failures.add(done, self._newest)
            text, generation = f"no checkpoint: {done.error}", None
        self._requests.answer(ok=done.manifest is not None, text=text, generation=generation)
        if done.program_lives:
            ok, was_blocked = done.manifest is not None, isinstance(done.error, BlockedError)
            self._decide(policy.CheckpointEnded(ok=ok, interval_s=self._interval_s(), was_blocked=was_blocked))
            self._plan_for_limit()
        if done.manifest is not None:
            self._write_state()

    def _committed(self, manifest: Manifest) -> None:
        plan, report = self._context.plan, self._context.report
        self._newest = manifest
        self.has_committed = True
        self._cost.measured(manifest.cost)
        checkpoint.say_committed(manifest, report)
        verdicts = plan.store.prune(keep=plan.options.keep, lineage=plan.start.job.lineage)
        for verdict in verdicts:
            if not verdict.keep:
                report.say(f"generation {verdict.number} pruned: {verdict.rule}", level=VERBOSE, event="pruned")
        kept = [verdict.number for verdict in verdicts if verdict.keep]
        if not plan.options.keep_record:
            recording.forget_unneeded(plan.store.layout.undo, plan.store.undo_parts(kept))
        if self._context.feed is not None:
            self._context.feed.forget_before(plan.store.least_stdin_bytes(kept))

    def _looked(self, done: LookDone) -> None:
        """End a program that another engine can take over, unless a checkpoint is being taken after all."""
        is_free = self._worker is None and self._newest is None and self._ended_by is None
        if (found := self._early.confirmed(done)) and is_free and self._computation.poll() is None:
            self._failures.add_seen(found)
            self._ended_by = policy.Refuse()
            self._computation.kill()

    def _finish_worker(self) -> None:
        if self._worker is not None:
            self._worker.join(_WORKER_JOIN_S)
            self._worker = None

    def _interval_s(self) -> float | None:
        asked = self._context.plan.options.interval_s
        if asked is None or asked >= 0:
            return asked
        if self._newest is not None:
            return auto_s(self._newest.cost.checkpoint_s)
        return first_s(None if self._context.limit.end_at is None else self._context.limit.total_s)

    def _write_state(self) -> None:
        newest = self._newest.generation if self._newest else None
        state = running_state(self._context, self._running, newest=newest, situation=self._situation)
        self._context.plan.store.write_state(state, durable=False)

    def _outcome(self, end: ProgramEnd) -> Outcome:
        return outcome_of(
            Supervised(
                job=self._context.plan.store.layout.name,
                newest=self._newest.generation if self._newest else None,
                checkpointed_status=self._context.plan.checkpointed_status,
                situation=self._situation,
                ended_by=self._ended_by,
                last_error=self._failures.last_error,
                is_for_another=self._failures.is_for_another,
            ),
            end,
        )
