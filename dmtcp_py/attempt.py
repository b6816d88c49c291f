"""The event loop around one running computation: signals, requests, the clock, checkpoints, its end."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dmtcp_py import checkpointing, policy
from dmtcp_py.census import tree
from dmtcp_py.checkpointing import CheckpointDone, Source
from dmtcp_py.ending import Attempted, outcome_of
from dmtcp_py.engine import How, undo
from dmtcp_py.errors import HinderedError, StoreError
from dmtcp_py.interval import auto_s, first_s, is_worth_it
from dmtcp_py.interval import lead_s as lead_for
from dmtcp_py.limit import CostOfCheckpoints, Seen
from dmtcp_py.process import reap_orphans
from dmtcp_py.report import VERBOSE
from dmtcp_py.store import requests
from dmtcp_py.store.lock import HEARTBEAT_S
from dmtcp_py.store.records import State, utc_now
from dmtcp_py.store.verify import read_manifest
from dmtcp_py.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dmtcp_py.batch import Allocation
    from dmtcp_py.checkpointing import Engaged
    from dmtcp_py.engine import End, Stdio
    from dmtcp_py.errors import DmtcpRunError
    from dmtcp_py.events import EventStream
    from dmtcp_py.limit import TimeLimit
    from dmtcp_py.outcome import Outcome, RunOptions
    from dmtcp_py.report import Report
    from dmtcp_py.store.records import Job, Manifest
    from dmtcp_py.store.requests import Waiting
    from dmtcp_py.store.store import Store

TICK_S = 1.0
"""How often requests and the clock are looked at."""
FORWARDED = (signal.SIGWINCH,)
SIGNALS = (*policy.STOP_SIGNALS, signal.SIGTSTP, *FORWARDED)
_WORKER_JOIN_S = 60.0
_ENDS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Surroundings:
    """What all computations of one attempt share."""

    store: Store
    job: Job
    options: RunOptions
    stdio: Stdio
    report: Report
    stream: EventStream
    limit: TimeLimit
    allocation: Allocation
    checkpointed_status: int
    started: datetime


class Watch:
    """One computation from when it came up to its end. `run` is called once."""

    def __init__(self, around: Surroundings, engaged: Engaged, parent: Manifest | None) -> None:
        self._around = around
        self._engaged = engaged
        self._choice = engaged.choice
        self._computation = computation = engaged.computation
        self._newest = parent
        self._came_up_at = time.monotonic()
        self._cost = CostOfCheckpoints(computation.pid, parent)
        may_refuse = parent is None and not around.options.allow_unprotected
        self._situation = policy.begin(self._interval_s(), self._came_up_at, may_refuse=may_refuse)
        self._waiting: list[Waiting] = []
        self._served: list[Waiting] = []
        self._worker: threading.Thread | None = None
        self._stopped_by: int | None = None
        self._last_error: str | None = None
        self._doubted: DmtcpRunError | None = None
        """The failure of a checkpoint in which the program died, as long as it is not known whether by itself."""
        self._doubted_until = 0.0
        self._handed_over = False
        self._gave_up = False
        self._refused = False
        self._noted: set[str] = set()
        self._beat_at = 0.0
        self.committed = 0

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether the attempt is to end, so that nothing is to be started again."""
        situation = self._situation
        # a time limit is seen again by what comes up next; a signal or a request is not sent again
        waits = situation.stop_wanted not in (None, policy.LIMIT)
        return situation.phase is policy.Phase.STOPPING or waits or self._stopped_by is not None

    def run(self) -> Outcome:
        """Return how the computation ended. Raises FencedError where another attempt took over."""
        self._plan_for_limit()
        self._tell_limit()
        self._write_state("running")
        try:
            while (end := self._step()) is None:
                pass
        finally:
            self._finish_worker()
            for asked in (*self._served, *self._waiting):
                asked.answer(ok=False, text="the program ended before a checkpoint was taken")
        return self._outcome(end)

    def _step(self) -> End | None:
        """Wait for something to happen and deal with it; return how the program ended once it did."""
        signals, posted = self._around.stream.wait(self._wait_s())
        for signum in signals:
            self._signalled(signum)
        for event in posted:
            if isinstance(event, Seen):
                self._limit_seen(event)
            else:
                self._checkpoint_done(event)
        self._look_after_files()
        self._look_at_limit()
        self._decide(policy.TimePassed())
        if self._worker is not None:
            return None
        reap_orphans(self._computation.known_pids())
        end = self._computation.poll()
        self._look_at_doubted(end)
        if end is not None:
            for signum in self._around.stream.wait(0)[0]:
                self._situation = policy.told_too_late(self._situation, signum)
        return end

    def _wait_s(self) -> float:
        """Return how long nothing has to be looked at; what was due and was not done is no reason to hurry."""
        at, now = policy.wakes_at(self._situation), time.monotonic()
        return TICK_S if at is None or at <= now else min(at - now, TICK_S)

    def _look_at_limit(self) -> None:
        """Have the scheduler asked for the end of the allocation, where it is time."""
        limit = self._around.limit
        limit.look(self._around.stream.post)
        if limit.stop_at != self._situation.stop_at:
            self._plan_for_limit()

    def _limit_seen(self, seen: Seen) -> None:
        if self._around.limit.saw(seen):
            self._tell_limit()
            self._write_state("running")
        if seen.error is not None:
            self._note([f"{seen.error.what}; going by what was known of the time limit"])
        self._plan_for_limit()

    def _plan_for_limit(self) -> None:
        """Work out anew when the last checkpoint has to begin."""
        limit, lead_s = self._around.limit, self._around.options.lead_s
        if limit.end_at is not None:
            limit.lead_s = lead_for(self._cost.now_s(), limit.whole_s) if lead_s is None else lead_s
        self._decide(policy.LimitSeen(limit.stop_at, limit.give_up_at))

    def _tell_limit(self) -> None:
        limit = self._around.limit
        if limit.end_at is None:
            return
        left_s, lead = limit.end_at - time.monotonic(), format_duration(limit.lead_s)
        text = f"the time limit comes in {format_duration(max(left_s, 0))}; the last checkpoint begins {lead} before"
        self._around.report.say(text, event="limit", left_s=round(left_s), lead_s=round(limit.lead_s, 1))
        if not is_worth_it(limit.lead_s, limit.whole_s):
            self._note([f"so short a time limit leaves little for computing, as {lead} are kept free: ask for more"])

    def _decide(self, event: policy.Event) -> None:
        self._situation, action = policy.decide(self._situation, event, time.monotonic())
        if isinstance(action, policy.Checkpoint):
            self._begin_checkpoint(action)
        elif isinstance(action, policy.StopNow):
            self._stopped_by = action.signum
            self._computation.kill()
        elif isinstance(action, policy.GiveUp):
            self._gave_up = True
            self._computation.kill()
        elif isinstance(action, policy.Refuse):
            self._refused = True
            self._computation.kill()
        elif isinstance(action, policy.EndAttempt):
            self._handed_over = True
        elif isinstance(action, policy.RunOn):
            self._around.report.warn("the last checkpoint failed and the program goes on; ask once more, or kill it")

    def _signalled(self, signum: int) -> None:
        if signum in FORWARDED:
            self._computation.signal(signum)
        elif signum == signal.SIGTSTP:
            self._suspend()
        elif signum in policy.STOP_SIGNALS:
            self._decide(policy.Signalled(signum))

    def _suspend(self) -> None:
        """Stop with the program, as the terminal asked, and go on with it."""
        self._computation.signal(signal.SIGSTOP)
        signal.raise_signal(signal.SIGSTOP)
        self._computation.signal(signal.SIGCONT)

    def _look_after_files(self) -> None:
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._around.store.lock.beat()
        for asked in requests.collect(self._around.store.layout):
            self._waiting.append(asked)
            self._decide(policy.Asked(asked.action))

    def _begin_checkpoint(self, action: policy.Checkpoint) -> None:
        # a checkpoint that begins now serves whatever was asked until now
        self._served, self._waiting = [*self._served, *self._waiting], []
        around = self._around
        if action.then_stop:
            around.report.say(f"{action.reason}: taking the last checkpoint", event="stopping", reason=action.reason)
        source = Source(
            store=around.store,
            job=around.job,
            engaged=self._engaged,
            stdio=around.stdio,
            parent=self._newest.generation if self._newest else None,
            expected_bytes=self._newest.size if self._newest and self.committed else None,
            came_up_at=self._came_up_at,
        )
        self._worker = threading.Thread(
            target=checkpointing.take,
            args=(source, action.reason),
            kwargs={"then_stop": action.then_stop, "post": around.stream.post},
            daemon=True,
        )
        self._worker.start()

    def _checkpoint_done(self, done: CheckpointDone) -> None:
        self._finish_worker()
        if done.crash is not None:
            raise done.crash
        served, self._served = self._served, []
        if done.manifest is not None:
            self._committed(done.manifest)
            self._note(done.notes)
            text = f"generation {done.manifest.generation} is committed"
        else:
            text = f"no checkpoint: {done.error}"
            self._failed(done)
        for asked in served:
            generation = done.manifest.generation if done.manifest else None
            asked.answer(ok=done.manifest is not None, text=text, generation=generation)
        if done.program_lives:
            hindered = isinstance(done.error, HinderedError)
            ok = done.manifest is not None
            self._decide(policy.CheckpointEnded(ok=ok, interval_s=self._interval_s(), was_hindered=hindered))
            self._plan_for_limit()
        if done.manifest is not None:
            self._write_state("running")

    def _committed(self, manifest: Manifest) -> None:
        around = self._around
        self._newest = manifest
        self.committed += 1
        cost = manifest.cost
        self._cost.measured(cost)
        around.report.say(
            f"generation {manifest.generation} committed ({manifest.reason}, {format_size(manifest.size)}, "
            f"{format_duration(cost.checkpoint_s)} + {format_duration(cost.commit_s)})",
            event="checkpointed",
            generation=manifest.generation,
            size=manifest.size,
            checkpoint_s=cost.checkpoint_s,
        )
        verdicts = around.store.prune(keep=around.options.keep, lineage=around.job.lineage)
        for verdict in verdicts:
            if not verdict.keep:
                around.report.say(f"generation {verdict.number} pruned: {verdict.rule}", level=VERBOSE, event="pruned")
        self._forget([verdict.number for verdict in verdicts if verdict.keep])

    def _forget(self, kept: Sequence[int]) -> None:
        """Remove what was noted of files before the oldest generation that is KEPT."""
        layout = self._around.store.layout
        with suppress(StoreError):
            parts = [read_manifest(layout, number).engine_data.get(undo.KEY) for number in kept]
            needed = [part for part in parts if part is not None]
            if needed:
                undo.forget(layout.undo, min(needed, key=int))

    def _note(self, notes: Sequence[str]) -> None:
        for text in notes:
            if text not in self._noted:
                self._noted.add(text)
                self._around.report.warn(text)

    def _failed(self, done: CheckpointDone) -> None:
        self._last_error = str(done.error)
        if done.program_lives:
            self._warn_of_failure(done.error, lives=True)
        else:
            # how it ended is often known a moment later
            self._doubted, self._doubted_until = done.error, time.monotonic() + _ENDS_WITHIN_S

    def _look_at_doubted(self, end: End | None) -> None:
        """Tell that a checkpoint failed in which the program died, unless that was an END of its own."""
        error = self._doubted
        if error is None or (end is None and time.monotonic() < self._doubted_until):
            return
        self._doubted = None
        if end is None or end.how not in (How.EXITED, How.SIGNALLED):
            self._warn_of_failure(error, lives=False)

    def _warn_of_failure(self, error: DmtcpRunError | None, *, lives: bool) -> None:
        newest = self._newest
        self._around.store.record("failed", what="checkpoint", error=str(error), lives=lives)
        text = f"checkpoint failed: {error}" + ("; the program goes on" if lives else "")
        if not isinstance(error, HinderedError):
            self._around.report.warn(text)
        elif newest is None or self._around.options.allow_unprotected:
            # it will be so for as long as the program is as it is
            self._note([text])
        else:
            # it was safe before, and with each that fails a resume would lose more
            self._around.report.warn(f"{text}, and a resume would begin at generation {newest.generation}")

    def _finish_worker(self) -> None:
        if self._worker is not None:
            self._worker.join(_WORKER_JOIN_S)
            self._worker = None

    def _interval_s(self) -> float | None:
        asked = self._around.options.interval_s
        if asked is None or asked >= 0:
            return asked
        if self._newest is not None:
            return auto_s(self._newest.cost.checkpoint_s)
        limit = self._around.limit
        return first_s(None if limit.end_at is None else limit.whole_s)

    def _write_state(self, phase: str) -> None:
        around = self._around
        around.store.write_state(
            State(
                lineage=around.job.lineage,
                epoch=around.store.epoch,
                phase=phase,
                started=around.started,
                updated=utc_now(),
                engine=self._choice.engine_text,
                resumed_from=self._newest.generation if self._newest else None,
                next_checkpoint=_moment(policy.wakes_at(self._situation)),
                processes=[pair for pid in self._computation.known_pids() for pair in tree(pid)],
                ends=_moment(self._around.limit.end_at),
                origin=around.allocation.origin,
                run=around.allocation.run,
            ),
            durable=False,
        )

    def _outcome(self, end: End) -> Outcome:
        return outcome_of(
            Attempted(
                job=self._around.store.layout.name,
                newest=self._newest.generation if self._newest else None,
                checkpointed_status=self._around.checkpointed_status,
                situation=self._situation,
                stopped_by=self._stopped_by,
                handed_over=self._handed_over,
                gave_up=self._gave_up,
                refused=self._refused,
                last_error=self._last_error or "",
            ),
            end,
        )


def _moment(at: float | None) -> datetime | None:
    """Return the moment of monotonic second AT."""
    return None if at is None else utc_now() + timedelta(seconds=at - time.monotonic())
