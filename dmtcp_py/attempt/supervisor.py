"""The event loop around one running computation: signals, requests, the clock, checkpoints, its end."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from dmtcp_py.attempt import checkpoint, happenings, policy
from dmtcp_py.attempt.checkpoint import CheckpointDone, CheckpointSubject, CommitLines
from dmtcp_py.attempt.cost import CheckpointCost
from dmtcp_py.attempt.early_look import EarlyLook, LookDone
from dmtcp_py.attempt.failures import CheckpointFailures, Warnings
from dmtcp_py.attempt.feed import InputFailed
from dmtcp_py.attempt.gate import GateAnswer
from dmtcp_py.attempt.inside import Inside
from dmtcp_py.attempt.interval import next_s
from dmtcp_py.attempt.limit_planning import LimitPlanning
from dmtcp_py.attempt.mirroring import MirrorSaid
from dmtcp_py.attempt.outcome import Supervised, outcome_of
from dmtcp_py.attempt.pruning import prune
from dmtcp_py.attempt.state import running_state
from dmtcp_py.batch.time_limit import LimitAnswer
from dmtcp_py.errors import BlockedError, FencedError
from dmtcp_py.store.requests import RequestQueue
from dmtcp_py.system.reaping import reap_orphans

if TYPE_CHECKING:
    import threading

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
        self._warnings, self._commit_lines = Warnings(context.report), CommitLines(context.report)
        self._failures = CheckpointFailures(plan, self._warnings)
        self._inside = Inside(plan.store, self._warnings.warn_once)
        self._limit = LimitPlanning(context, self._cost, self._warnings)
        self._worker: threading.Thread | None = None
        self._ended_by: happenings.Action | None = None
        self._early = EarlyLook(context, running)
        self.has_committed = False
        self.ran_s = 0.0
        """How long the program ran, once it has ended."""

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether the attempt is to end, so that nothing is to be started again."""
        return policy.is_asked_to_stop(self._situation) or isinstance(self._ended_by, happenings.StopNow)

    def run(self) -> Outcome:
        """Return how the computation ended. Raises FencedError if another attempt took over."""
        self._context.mirrors.begin()
        self._context.sealing.begin()
        self._plan_for_limit()
        self._limit.report()
        self._write_state()
        # a limit that has come already is not to wait for a tick
        self._decide(happenings.TimePassed())
        try:
            while (end := self._step()) is None:
                pass
        finally:
            self._finish_worker()
            # what a restart reads is not to be replaced meanwhile
            self._context.sealing.close()
            self._inside.end()
            self._requests.answer_all(ok=False, text="the program ended before a checkpoint was taken")
        return self._outcome(end)

    def _step(self) -> ProgramEnd | None:
        """Wait for something to happen and react to it; return how the program ended once it did."""
        signals, posted = self._context.stream.wait(self._wait_s())
        for signum in signals:
            self._signalled(signum)
        for event in posted:
            self._happened(event)
        self._context.lease.check()
        self._read_requests()
        self._early.begin_if_due()
        self._poll()
        self._decide(happenings.TimePassed())
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
            signals, posted = self._context.stream.wait(0)
            self._context.mirrors.heard_among(posted)
            for signum in signals:
                self._situation = policy.signalled_at_the_end(self._situation, signum)
        return end

    def _happened(self, event: object) -> None:
        """React to what a thread has posted."""
        if isinstance(event, LimitAnswer):
            self._limit_answered(event)
        elif isinstance(event, GateAnswer):
            self._gate_answered(event)
        elif isinstance(event, InputFailed):
            self._computation.kill()
            self._context.plan.store.record("failed", what="input", error=str(event.error))
            raise event.error
        elif isinstance(event, MirrorSaid):
            self._context.mirrors.heard(event)
        elif isinstance(event, LookDone):
            self._looked(event)
        elif isinstance(event, CheckpointDone):
            self._checkpoint_done(event)

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
            self._decide(happenings.Signalled(signum))

    def _suspend(self) -> None:
        """Stop together with the program, as the terminal asked, and continue it afterwards."""
        self._computation.signal(signal.SIGSTOP)
        signal.raise_signal(signal.SIGSTOP)
        self._computation.signal(signal.SIGCONT)

    def _read_requests(self) -> None:
        for request in self._requests.read():
            self._decide(happenings.Asked(request.action))

    def _decide(self, event: happenings.Event) -> None:
        self._situation, action = policy.decide(self._situation, event, time.monotonic())
        if isinstance(action, happenings.Checkpoint):
            self._begin_unless_put_off(action)
        elif isinstance(self._ended_by, happenings.EndAttempt):
            # the last checkpoint is committed, whatever comes after it
            return
        elif isinstance(action, happenings.StopNow | happenings.GiveUp | happenings.Refuse):
            # a checkpoint that is being taken looks for the end of the program itself
            if self._worker is not None or self._computation.poll() is None:
                self._ended_by = action
                self._computation.kill()
        elif isinstance(action, happenings.EndAttempt):
            self._ended_by = action
        elif isinstance(action, happenings.RunOn):
            text = "the last checkpoint failed and the program continues to run; ask once more, or kill it"
            self._context.report.warn(text)
        if self._situation.phase is policy.Phase.RUNNING and not self._situation.is_put_off:
            self._inside.withdraw()

    def _poll(self) -> None:
        self._context.gate.poll(self._context.stream.post)
        self._context.mirrors.poll()
        self._context.sealing.poll()
        if self._limit.poll() != self._situation.stop_at:
            self._plan_for_limit()

    def _limit_answered(self, answer: LimitAnswer) -> None:
        if self._limit.answered(answer):
            self._write_state()
        self._plan_for_limit()

    def _gate_answered(self, answer: GateAnswer) -> None:
        if not self._context.gate.answered(answer):
            self._decide(happenings.GateClosed())

    def _plan_for_limit(self) -> None:
        """Work out anew when the last checkpoint has to begin."""
        seen = self._limit.seen()
        self._inside.plan_limit(seen.stop_at, self._context.limit.end_at)
        self._decide(seen)

    def _begin_unless_put_off(self, action: happenings.Checkpoint) -> None:
        """Begin a checkpoint, unless the program asks for none and there is time to wait."""
        section_until, now = self._inside.announce(), time.monotonic()
        if not policy.may_begin(self._situation, action, section_until, now):
            self._decide(happenings.PutOff(action))
            return
        if section_until is not None:
            self._context.report.warn(f"{action.reason}: no time to wait for the end of the program's inhibit()")
        self._begin_checkpoint(action)

    def _begin_checkpoint(self, action: happenings.Checkpoint) -> None:
        # a checkpoint that begins now answers whatever was asked until now
        self._requests.begin_answering()
        report, post = self._context.report, self._context.stream.post
        if action.then_stop:
            report.say(f"{action.reason}: taking the last checkpoint", event="stopping", reason=action.reason)
        subject = CheckpointSubject(
            plan=self._context.plan,
            report=report,
            running=self._running,
            parent=self._newest.generation if self._newest else None,
            synced_part=self._newest.undo_part if self._newest and self.has_committed else None,
            expected_bytes=self._newest.size if self._newest and self.has_committed else None,
            longest_s=self._cost.longest_s,
            feed=self._context.feed,
            came_up_at=self._came_up_at,
            images_taken=self._inside.withdraw,
        )
        self._worker = checkpoint.begin(subject, action.reason, then_stop=action.then_stop, post=post)

    def _checkpoint_done(self, done: CheckpointDone) -> None:
        self._finish_worker()
        if done.crash is not None:
            raise done.crash
        if isinstance(done.error, FencedError):
            raise done.error
        if done.manifest is not None:
            self._committed(done.manifest)
            self._failures.end()
            self._warnings.warn_once(*done.notes)
            text, generation = f"generation {done.manifest.generation} is committed", done.manifest.generation
        else:
            self._failures.add(done, self._newest)
            text, generation = f"no checkpoint: {done.error}", None
        self._requests.answer(ok=done.manifest is not None, text=text, generation=generation)
        if done.program_lives:
            blocked = done.error if isinstance(done.error, BlockedError) else None
            ended = happenings.CheckpointEnded(
                ok=done.manifest is not None,
                interval_s=self._interval_s(),
                was_blocked=blocked is not None,
                may_pass=blocked is not None and blocked.may_pass,
            )
            self._decide(ended)
            self._plan_for_limit()
        if done.manifest is not None:
            self._write_state()

    def _committed(self, manifest: Manifest) -> None:
        self._newest = manifest
        self.has_committed = True
        self._cost.measured(manifest.cost)
        interval_s, stop_at = self._interval_s() or 0.0, self._situation.stop_at
        is_last = stop_at is not None and time.monotonic() + interval_s > stop_at
        self._commit_lines.committed(manifest, None if is_last else interval_s)
        self._context.mirrors.committed()
        prune(self._context)
        self._context.sealing.begin()

    def _looked(self, done: LookDone) -> None:
        """End a program that another engine can take over, unless a checkpoint is being taken after all."""
        is_free = self._worker is None and self._newest is None and self._ended_by is None
        if (found := self._early.confirmed(done)) and is_free and self._computation.poll() is None:
            self._failures.add_seen(found)
            self._ended_by = happenings.Refuse()
            self._computation.kill()

    def _finish_worker(self) -> None:
        if self._worker is not None:
            self._worker.join(_WORKER_JOIN_S)
            self._worker = None

    def _interval_s(self) -> float | None:
        limit = self._context.limit
        return next_s(
            self._context.plan.options.interval_s,
            None if self._newest is None else self._newest.cost.checkpoint_s,
            None if limit.end_at is None else limit.total_s,
            self._context.auto,
        )

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
