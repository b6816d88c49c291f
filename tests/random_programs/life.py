"""The life of a random program: undisturbed, then under an engine with checkpoints and kills; and what came of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import psutil

from dmtcp_py.rollback import held_files
from kit.bench import Workbench
from kit.places import BARE, CTL, RUN
from kit.processes import kill_all
from random_programs import remains
from random_programs.bound import TRIAL_S, bounded
from random_programs.generate import C_FLAGS, C_LIBRARIES, Program, text
from random_programs.plans import Moment, Plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kit.bench import Process
    from kit.engines import EngineHere

RIGHT_STATUS = 42
_REFUSED_STATUS = 125
_UNDISTURBED_S = 120
_STUCK_S, _STUCK_BARE_S = 60.0, 20.0
"""So long nothing may move; less without what is ours, where much is stuck for ever."""
_POSTPONED_S = 150.0
"""So long a request for a checkpoint may be without an answer: one that is postponed has one after two minutes."""
_LOOK_S = 0.05
_ASKED_TIMES = 3
"""So often a checkpoint is asked for, as the first one may come too early."""
_DETAIL_CHARS = 600
_USUAL = (" committed (", ": started with ", ": resumed generation ", "will be repeated")
"""What dmtcp-run says when all is well."""

_LAST_EVENTS = ("finished", "signalled")
"""What happens to a job whose program has ended."""


class Outcome(Enum):
    """What came of a program."""

    RIGHT = "right"
    REFUSED = "refused"
    """By name, when a checkpoint was asked for."""
    LATE = "refused late"
    """By name, but only when it was to be resumed."""
    WRONG = "WRONG"
    STUCK = "STUCK"
    BROKEN = "BROKEN"
    """The program itself is not right: a fault of the generator."""


@dataclass(frozen=True)
class Result:
    """An OUTCOME and what shows it; LIVES is how often the program was resumed, DIFFERING the kinds that say so.

    MOMENTS are those at which it was disturbed in fact.
    """

    outcome: Outcome
    detail: str = ""
    lives: int = 0
    differing: frozenset[str] = frozenset()
    moments: tuple[Moment, ...] = field(default=(), compare=False)

    @property
    def is_bad(self) -> bool:
        """Whether a user would have been harmed."""
        return self.outcome in (Outcome.WRONG, Outcome.STUCK, Outcome.LATE, Outcome.BROKEN)


class _EndedError(Exception):
    """The program has ended, with a status."""


class _StuckError(Exception):
    """Nothing moves."""


class _RefusedError(Exception):
    """There is no checkpoint."""


class Life:
    """A PROGRAM in a FOLDER of its own, under an ENGINE, with OPTIONS of dmtcp-run; BARE without what is ours."""

    def __init__(self, program: Program, folder: Path, engine: EngineHere, *options: str, bare: bool = False) -> None:
        self._program, self._folder = program, folder
        (folder / "work").mkdir(parents=True)
        command = BARE if bare else (RUN,)
        self._stuck_s = _STUCK_BARE_S if bare else _STUCK_S
        engine = replace(engine, options=("--engine", engine.name, *options))
        self._bench = Workbench(folder / "work", engine, command=command)
        self._key = random.SystemRandom().randint(10**6, 2 * 10**9) // 10 * 10
        self._moments: list[Moment] = []
        self._go, self._answers = folder / "go", folder / "answers.txt"

    def run(self, plan: Plan, *, bound_s: float = TRIAL_S) -> Result:
        """Run the program undisturbed, and then as PLAN says; all of it within BOUND_S."""
        with bounded(lambda: [one.pid for one in self._bench.started if one.poll() is None], bound_s) as is_late:
            try:
                problem = self._build() or self._undisturbed()
                result = Result(Outcome.BROKEN, problem) if problem else self._disturbed(plan)
            finally:
                self._clean_up()
        return self._result(Outcome.STUCK, f"not over after {bound_s:.0f} s") if is_late.is_set() else result

    def _build(self) -> str:
        source = self._folder / ("program.c" if self._program.is_c else "program.py")
        source.write_text(text(self._program))
        self._argv = [sys.executable, str(source)]
        if not self._program.is_c:
            return ""
        self._argv = [str(self._folder / "program")]
        compiler = ["gcc", *C_FLAGS, str(source), "-o", self._argv[0], *C_LIBRARIES]
        made = subprocess.run(compiler, capture_output=True, text=True, timeout=_UNDISTURBED_S, check=False)
        return made.stderr if made.returncode else ""

    def _words(self, key: int, plan: Plan) -> list[str]:
        return [*self._argv, str(plan.pause_us), str(key), str(plan.hold), str(self._go)]

    def _undisturbed(self) -> str:
        self._bench.plain.touch()  # it has to be the user's too
        process = self._bench.start_plain(*self._bench.typed(self._words(self._key + 5, Plan())))
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(_UNDISTURBED_S)
            last = self._tail(self._bench.plain / "out.txt") + self._tail(self._bench.plain / "err.txt")
            return "" if status == RIGHT_STATUS else f"undisturbed, it ends with {status}: {last}"
        kill_all(process)
        return "undisturbed, it does not end"

    def _disturbed(self, plan: Plan) -> Result:
        process = self._start(plan)
        try:
            self._through(process, plan)
        except _EndedError as ended:
            return self._judge(ended.args[0])
        except _RefusedError as refused:
            return self._result(Outcome.REFUSED, str(refused))
        except _StuckError as stuck:
            return self._differing() or self._result(Outcome.STUCK, f"{stuck}; {self._tail(self._out)}")
        finally:
            for one in self._bench.started:
                if one.poll() is None:
                    kill_all(one)
        raise AssertionError

    def _start(self, plan: Plan) -> Process:
        return self._bench.start("-i", "0", "--stdout", "out.txt", *self._words(self._key, plan))

    def _through(self, process: Process, plan: Plan) -> None:
        for place, moment in enumerate(plan.moments):
            last = min(moment.last, len(self._program.steps) - 1)
            self._wait_step(process, moment.step)
            time.sleep(moment.after_s)  # what is random is the moment; nothing is assumed of it
            self._ask_for_checkpoint(process)
            step = self._steps_in(self._size_at_checkpoint())
            self._allow(plan, last + 1)
            self._wait_step(process, last)
            if moment.is_torn:
                self._begin_to_ask()
                time.sleep(moment.after_s)  # as above
            self._kill(process)
            beyond = self._steps_in() - step
            self._moments.append(Moment(step, moment.after_s, beyond, is_torn=moment.is_torn))
            self._allow(plan, plan.moments[place + 1].step + 1 if place + 1 < len(plan.moments) else plan.hold)
            process = self._resume(plan)
        self._go.touch()
        self._allow(plan)
        self._wait(process, lambda: False)

    def _allow(self, plan: Plan, step: int = -1) -> None:
        """Let a program that is held go on, until before STEP."""
        if plan.is_held:
            new = self._go.with_suffix(".new")
            new.write_text(f"{step}" if step >= 0 else "")
            new.replace(self._go)

    def _size_at_checkpoint(self) -> int | None:
        """Return what its output had when the newest checkpoint was taken; None where that is not recorded."""
        folder = self._bench.job / "generations" / f"{self._bench.newest:06}"
        held = json.loads((folder / held_files.NAME).read_text())["files"]
        return next((one["size"] for one in held if one["path"] == str(self._out)), None)

    def _steps_in(self, size: int | None = None) -> int:
        """Return the last step that the first SIZE bytes of its output name; -1 if there is none."""
        return self._out.read_bytes()[:size].count(b"\nstep ") + self._out.read_bytes().startswith(b"step ") - 1

    def _kill(self, process: Process) -> None:
        kill_all(process)
        if process.returncode != -signal.SIGKILL:
            raise _EndedError(process.returncode)
        # what had ended just before must not be started anew: its output would be lost
        for event in self._bench.history[-1:]:
            if event["event"] in _LAST_EVENTS:
                raise _EndedError(event["status"])

    def _resume(self, plan: Plan) -> Process:
        before = len(self._bench.events)
        process = self._start(plan)
        self._wait(process, lambda: {"resumed", "started"} & set(self._bench.events[before:]))
        return process

    def _ask_for_checkpoint(self, process: Process) -> None:
        self._wait(process, lambda: self._bench.events)
        before, began = self._bench.newest, time.monotonic()
        for _ in range(_ASKED_TIMES):
            asking = self._begin_to_ask()
            self._wait(process, lambda asking=asking: asking.poll() is not None, _POSTPONED_S)
            if self._bench.newest > before:
                return
            if time.monotonic() - began > _STUCK_S:
                break
        raise _RefusedError(self._answers.read_text())

    def _begin_to_ask(self) -> Process:
        argv = self._bench.typed([CTL, "checkpoint", self._bench.job.name])
        with self._answers.open("w") as answers:
            return self._bench.start_line(argv, stdout=answers, stderr=subprocess.STDOUT)

    def _wait_step(self, process: Process, step: int) -> None:
        self._wait(process, lambda: step < 0 or f"\nstep {step} " in f"\n{self._bench.said('out.txt')}")

    def _wait(self, process: Process, condition: Callable[[], object], bound_s: float = 0) -> None:
        bound_s = bound_s or self._stuck_s
        until, before = time.monotonic() + bound_s, 0
        while not condition():
            if process.poll() is not None:
                raise _EndedError(process.returncode)
            now = self._out.stat().st_size if self._out.exists() else 0
            if now != before:
                until, before = time.monotonic() + bound_s, now
            if time.monotonic() > until:
                raise _StuckError(f"nothing moves for {bound_s:.0f} s")
            time.sleep(_LOOK_S)

    # what came of it

    @property
    def _out(self) -> Path:
        return self._bench.folder / "out.txt"

    def _result(self, outcome: Outcome, detail: str = "") -> Result:
        lives = self._bench.events.count("resumed")
        return Result(outcome, " ".join(detail.split())[:_DETAIL_CHARS], lives, moments=tuple(self._moments))

    def _judge(self, status: int) -> Result:
        if status == _REFUSED_STATUS:
            outcome = Outcome.LATE if self._bench.generations else Outcome.REFUSED
            return self._result(outcome, self._said())
        if differing := self._differing():
            return differing
        if status != RIGHT_STATUS:
            return self._result(Outcome.WRONG, f"status {status}; {self._said()}")
        difference = remains.difference(self._bench.folder, self._bench.plain)
        return self._result(Outcome.WRONG, difference) if difference else self._result(Outcome.RIGHT)

    def _differing(self) -> Result | None:
        lines = [line for line in self._bench.said("out.txt").splitlines() if line.startswith("DIFFERS")]
        kinds = frozenset(line.split(": ")[1] for line in lines if line.count(": ") > 1)
        return replace(self._result(Outcome.WRONG, lines[0]), differing=kinds) if lines else None

    def _said(self) -> str:
        lines = [line for line in self._bench.said().splitlines() if line.strip()]
        own = [line.removeprefix("dmtcp-run: ") for line in lines if line.startswith("dmtcp-run: ")]
        own = [line for line in own if not any(usual in line for usual in _USUAL)]
        return "; ".join((own or lines)[-2:])

    @staticmethod
    def _tail(path: Path) -> str:
        return path.read_text(errors="replace")[-_DETAIL_CHARS:] if path.exists() else ""

    def _clean_up(self) -> None:
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if any(str(self._folder) in word for word in one.cmdline()) or one.cwd().startswith(str(self._folder)):
                    one.kill()
        for key in (self._key, self._key + 5):
            remains.remove_objects(key)
