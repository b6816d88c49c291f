"""The life of a random program: undisturbed, then under an engine with checkpoints and kills; and what came of it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import psutil

from kit.bench import Workbench
from kit.places import BARE, CTL, RUN
from kit.processes import kill_all
from random_programs import remains
from random_programs.generate import C_FLAGS, C_LIBRARIES, Program, text

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
_LONG_S = 3.5
"""About so long a program runs under an engine."""
_LOOK_S = 0.02
_ASKED_TIMES = 3
"""So often a checkpoint is asked for, as the first one may come too early."""
_PLAIN_PAUSE_US = 500
_DETAIL_CHARS = 300
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
    """An OUTCOME and what shows it; LIVES is how often the program was resumed, DIFFERING the kinds that say so."""

    outcome: Outcome
    detail: str = ""
    lives: int = 0
    differing: frozenset[str] = frozenset()

    @property
    def is_bad(self) -> bool:
        """Whether a user would have been harmed."""
        return self.outcome in (Outcome.WRONG, Outcome.STUCK, Outcome.LATE, Outcome.BROKEN)


@dataclass(frozen=True)
class Moment:
    """A checkpoint after STEP and a bit, a kill STEPS_BEYOND later; or while one more checkpoint is taken."""

    step: int
    after_s: float
    steps_beyond: int
    is_torn: bool = False


@dataclass(frozen=True)
class Plan:
    """When a program is disturbed: at MOMENTS, before it goes on from step HOLD, where it waits until they are over."""

    moments: tuple[Moment, ...] = ()
    hold: int = -1
    pause_us: int = _PLAIN_PAUSE_US


class _EndedError(Exception):
    """The program has ended, with a status."""


class _StuckError(Exception):
    """Nothing moves."""


class _RefusedError(Exception):
    """There is no checkpoint."""


def random_plan(program: Program, seed: int) -> Plan:
    """Return two or three moments that SEED stands for."""
    chance = random.Random(f"moments {seed}")
    count = len(program.steps)
    moments = []
    for step in sorted(chance.sample(range(2, count - 2), chance.choice((2, 2, 3)))):
        torn = chance.random() < 1 / 6
        moments.append(Moment(step, chance.uniform(0, _LONG_S / count), chance.randint(0, count // 4), is_torn=torn))
    return Plan(tuple(moments), hold=count, pause_us=int(_LONG_S * 1e6 / count))


def holding_plan(program: Program) -> Plan:
    """Return the plan of one checkpoint and one kill after all steps."""
    count = len(program.steps)
    return Plan((Moment(count - 1, 0, 0),), hold=count)


class Life:
    """A PROGRAM in a FOLDER of its own, under an ENGINE; BARE without what is ours."""

    def __init__(self, program: Program, folder: Path, engine: EngineHere, *, bare: bool = False) -> None:
        self._program, self._folder = program, folder
        (folder / "work").mkdir(parents=True)
        options = ("--engine", engine.name)
        command = BARE if bare else (RUN,)
        self._stuck_s = _STUCK_BARE_S if bare else _STUCK_S
        self._bench = Workbench(folder / "work", replace(engine, options=options), command=command)
        self._key = random.SystemRandom().randint(10**6, 2 * 10**9) // 10 * 10
        self._go, self._answers = folder / "go", folder / "answers.txt"

    def run(self, plan: Plan) -> Result:
        """Run the program undisturbed, and then as PLAN says."""
        try:
            problem = self._build() or self._undisturbed()
            return Result(Outcome.BROKEN, problem) if problem else self._disturbed(plan)
        finally:
            self._clean_up()

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
        process = self._bench.start_plain(*self._words(self._key + 5, Plan()))
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
        for moment in plan.moments:
            self._wait_step(process, moment.step)
            time.sleep(moment.after_s)  # what is random is the moment; nothing is assumed of it
            self._ask_for_checkpoint(process)
            self._wait_step(process, min(moment.step + moment.steps_beyond, len(self._program.steps) - 1))
            if moment.is_torn:
                self._begin_to_ask()
                time.sleep(moment.after_s)  # as above
            process = self._kill_and_resume(process, plan)
        self._go.touch()
        self._wait(process, lambda: False)

    def _kill_and_resume(self, process: Process, plan: Plan) -> Process:
        before = len(self._bench.events)
        kill_all(process)
        if process.returncode != -signal.SIGKILL:
            raise _EndedError(process.returncode)
        # what had ended just before must not be started anew: its output would be lost
        for event in self._bench.history[-1:]:
            if event["event"] in _LAST_EVENTS:
                raise _EndedError(event["status"])
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
        self._wait(process, lambda: f"\nstep {step} " in f"\n{self._bench.said('out.txt')}")

    def _wait(self, process: Process, condition: Callable[[], object], bound_s: float = 0) -> None:
        bound_s = bound_s or self._stuck_s
        until, before = time.monotonic() + bound_s, b""
        while not condition():
            if process.poll() is not None:
                raise _EndedError(process.returncode)
            now = self._out.read_bytes() if self._out.exists() else b""
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
        return Result(outcome, " ".join(detail.split())[:_DETAIL_CHARS], self._bench.events.count("resumed"))

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
