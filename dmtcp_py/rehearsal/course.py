"""The course of a trial under one engine: two checkpoints, a kill, a resume, and what can be seen of its success."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.rehearsal import comparison, touched
from dmtcp_py.rehearsal.comparison import Printed
from dmtcp_py.rehearsal.life import Life, size_of
from dmtcp_py.store.history import read_history
from dmtcp_py.store.requests import request_action
from dmtcp_py.store.verify import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.rehearsal.findings import Trial
    from dmtcp_py.rehearsal.life import Stage
    from dmtcp_py.rehearsal.schedule import Schedule
    from dmtcp_py.store.records import Manifest

_TRIES = 3
_ACTIVE_SHARE = 0.3
"""A program that was on a processor for this share of a time computes."""
_IDLE_S = 0.05
_PATIENCE = 3
_OUT_OF_TIME = "in the time of the rehearsal; allow more with --time"


class EndedEarly(Exception):  # noqa: N818 - no error: the program is done
    """The program ended before it was killed."""

    def __init__(self, ran_s: float, status: int) -> None:
        super().__init__()
        self.ran_s, self.status = ran_s, status


class _Failed(Exception):  # noqa: N818 - what it says is a finding
    """The trial has shown that the program does not survive, for the reason that is its text."""


class Budget(Struct, frozen=True):
    """The monotonic second UNTIL which something may last."""

    until: float

    @property
    def left_s(self) -> float:
        """The seconds that are left."""
        return max(self.until - time.monotonic(), 0.0)


class _Activity(Struct, frozen=True):
    """What a program had done at a moment."""

    at: float
    printed: int
    computed_s: float

    @classmethod
    def of(cls, life: Life) -> _Activity:
        return cls(time.monotonic(), size_of(life.stage.stdout), life.computed_s())


class _Killed(Struct, frozen=True):
    """The first life at its end: what the newest generation has, and what the program did after it."""

    manifest: Manifest
    head: str
    after: Printed
    did_print: bool
    did_compute: bool

    @property
    def head_size(self) -> int:
        return self.after.start

    @property
    def output_size(self) -> int:
        return self.after.start + len(self.after.content)


class Course(Struct):
    """The lives of one trial on a STAGE. FOUND is what is known so far; each step is reported to SAY."""

    stage: Stage
    schedule: Schedule
    budget: Budget
    say: Callable[[str], None]
    found: Trial
    _lives: list[Life] = field(default_factory=list)

    def run(self) -> Trial:
        """Return the trial; raise EndedEarly if the program ended before it could be killed."""
        try:
            killed = self._be_killed()
            self._resume(killed)
        except _Failed as failed:
            self.found = replace(self.found, problem=str(failed))
        finally:
            for life in self._lives:
                life.kill()
        said = [event["text"] for life in self._lives for event in life.events("warning")]
        return replace(
            self.found, outside=touched.lasting(touched.outside(self.stage)), warnings=tuple(dict.fromkeys(said))
        )

    # the first life

    def _be_killed(self) -> _Killed:
        life, head_size = self._start("starting"), 0
        if not life.wait_for(lambda: bool(life.events("started")), self.budget.until):
            raise _Failed(f"it did not start {_OUT_OF_TIME}" if life.status is None else life.error)
        began = time.monotonic()
        self.found = replace(self.found, version=life.engine_version)
        for number, wait_s in enumerate((self.schedule.first_s, self.schedule.second_s), 1):
            self._let_run(life, began, wait_s)
            self.say(f"checkpoint {number}")
            # what is printed until the checkpoint is taken may be printed again
            head_size = size_of(self.stage.stdout)
            self._checkpoint(life, began)
        before = _Activity.of(life)
        self._let_run(life, began, self.schedule.kill_s)
        now = _Activity.of(life)
        self.say("killing it")
        life.kill()
        return self._killed(head_size, before, now)

    def _start(self, what: str) -> Life:
        self.say(what)
        self._lives.append(Life(self.stage, self.found.engine, len(self._lives)))
        return self._lives[-1]

    def _let_run(self, life: Life, began: float, seconds: float) -> None:
        life.wait_for(lambda: False, min(time.monotonic() + seconds, self.budget.until))
        self._raise_if_ended(life, began)

    def _raise_if_ended(self, life: Life, began: float) -> None:
        if life.status is None:
            return
        if not life.events("finished", "signalled"):
            raise _Failed(life.error)
        raise EndedEarly(time.monotonic() - began, life.status)

    def _checkpoint(self, life: Life, began: float) -> None:
        for _ in range(_TRIES):
            try:
                answer = request_action(self.stage.layout, "checkpoint", timeout_s=self.budget.left_s)
            except DmtcpRunError as error:
                life.wait_for(lambda: False, min(time.monotonic() + 1, self.budget.until))
                self._raise_if_ended(life, began)
                raise _Failed(f"no checkpoint was complete {_OUT_OF_TIME}") from error
            if answer.ok:
                return
            self._let_run(life, began, self.schedule.kill_s)
        raise _Failed((answer.answer or "").removeprefix("no checkpoint: "))

    def _killed(self, head_size: int, before: _Activity, now: _Activity) -> _Killed:
        layout = self.stage.layout
        manifest = read_manifest(layout, layout.generation_numbers()[-1])
        self.found = replace(
            self.found,
            size=manifest.size,
            processes=manifest.processes,
            pause_s=manifest.cost.checkpoint_s,
            files=touched.since(self.stage, manifest),
        )
        return _Killed(
            manifest=manifest,
            head=comparison.digest(self.stage.stdout, head_size),
            after=Printed.read(self.stage.stdout, head_size),
            did_print=now.printed > before.printed,
            did_compute=now.computed_s - before.computed_s > _ACTIVE_SHARE * (now.at - before.at),
        )

    # the second life

    def _resume(self, killed: _Killed) -> None:
        life = self._start("resuming it")
        if not life.wait_for(lambda: bool(life.events("resumed")), self.budget.until):
            raise _Failed(f"it was not resumed {_OUT_OF_TIME}" if life.status is None else life.error)
        resumed_at = time.monotonic()
        self.found = replace(self.found, resume_s=resumed_at - life.began)
        if life.events("resumed")[0]["generation"] != killed.manifest.generation:
            reasons = [event["text"] for event in life.events("warning") if "cannot be used" in event["text"]]
            raise _Failed(f"the newest checkpoint did not come up: {(reasons or ['no reason is known'])[0]}")
        restored = _Activity.of(life)
        self._watch(life, killed, restored)
        self.found = replace(self.found, ran_on_s=time.monotonic() - resumed_at)
        self.found = replace(self.found, status=life.status, last_words=self.stage.last_words)
        self._judge(life, killed, restored)

    def _watch(self, life: Life, killed: _Killed, before: _Activity) -> None:
        """Wait until the resumed program has done as much as before the crash; fail if it does nothing."""
        enough_at = before.at + self.schedule.after_s
        self.say("watching it run on")
        life.wait_for(lambda: False, min(enough_at, self.budget.until))
        # a machine that is busier now needs longer for as much
        patience = min(enough_at + _PATIENCE * self.schedule.after_s, self.budget.until)
        life.wait_for(lambda: size_of(self.stage.stdout) >= killed.output_size, patience)
        if life.status is not None:
            return
        now = _Activity.of(life)
        time_text = f"in {now.at - before.at:.0f} s"
        # what it had printed between the request for the checkpoint and the checkpoint was restored
        has_printed = now.printed > before.printed or now.printed >= killed.output_size
        if killed.did_print and not has_printed:
            raise _Failed(f"it hangs after the resume: it printed before the crash, and nothing {time_text} after it")
        if killed.did_compute and not killed.did_print and now.computed_s - before.computed_s < _IDLE_S:
            raise _Failed(f"it hangs after the resume: it computed before the crash, and not {time_text} after it")

    def _judge(self, life: Life, killed: _Killed, restored: _Activity) -> None:
        for event in read_history(self.stage.layout):
            if event.get("event") == "failed":
                raise _Failed(str(event.get("error")))
        if life.status is not None and not life.events("finished"):
            raise _Failed(f"after the resume: {life.error}")
        head_size, stdout = killed.head_size, self.stage.stdout
        if size_of(stdout) < head_size or comparison.digest(stdout, head_size) != killed.head:
            raise _Failed("what it had printed before the checkpoint was changed")
        again = Printed.read(stdout, head_size).content
        self.found = replace(
            self.found,
            printed=max(head_size + min(len(again), len(killed.after.content)) - restored.printed, 0),
            difference=comparison.difference(killed.after.content, again),
        )
