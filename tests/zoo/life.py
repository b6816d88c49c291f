"""One program on one engine: killed and resumed, and what of it was as in an uninterrupted run."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kit.processes import kill_all
from zoo.comparison import Comparison
from zoo.ends import run_on, wait, wait_end
from zoo.finding import FAILS, NO_GENERATION, REFUSED, STUCK, WORKS, WRONG, Finding
from zoo.line import Line
from zoo.said import costs_of, last_words, notes_on, reason_in, shorten

if TYPE_CHECKING:
    import subprocess

    from kit.bench import Workbench
    from kit.programs import Places, Program

    Process = subprocess.Popen[bytes]

FAILED_STATUS = 125
_NOT_MADE = "checkpoint failed: "
_LAST_LIFE = 5
"""How many times as long the interval is once the program is killed no more: its checkpoints slow it down."""
_ADVICE = re.compile(r"type ('ln -s .*', and --job \S+) resumes it")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a program is treated: how often it is killed, and how long anything may last."""

    kills: int = 2
    most_repeats: int = 2
    """How often the line is typed again after a 125 with a generation, as a user would."""
    generation_s: float = 100.0
    end_s: float = 150.0
    beyond_s: float = 0.0
    """Up to how long, at random, it runs on beyond what shows that it is beyond a generation."""


@dataclass
class Lives:
    """The lives of one program in one workbench."""

    bench: Workbench
    program: Program
    places: Places
    terms: Terms = Terms()
    without: str = ""
    repeats: int = 0
    resume_s: list[float] = field(default_factory=list)

    @cached_property
    def line(self) -> Line:
        """The line that is typed in each life."""
        return Line(self.bench, self.program, self.places, self.without)

    def find(self) -> Finding:
        """Run it beside itself: left alone, and killed as often as the terms say."""
        self.line.begin()
        plain = self.line.start_plain()
        try:
            finding = self._killed_and_resumed(plain)
        except TimeoutError as error:
            finding = Finding(STUCK, f"hangs: {error}; {self._said()}".strip("; "))
        finally:
            if plain.poll() is None:
                kill_all(plain)
        folders = (self.places.built, self.places.folder)
        costs = costs_of(self.bench, self.resume_s)
        return replace(finding, detail=shorten(finding.detail, self.bench, folders), **costs)

    def _killed_and_resumed(self, plain: Process) -> Finding:
        for kill in range(self.terms.kills):
            status = self._live_until_killed()
            if status is not None:
                return self._ended_early(kill, status, plain)
            if not kill and self.program.typed is not None and self.program.typed.is_moved:
                self._move()
        self.line.interval_s *= _LAST_LIFE
        status = self._wait_end(self.line.start(), "to its end")
        while self._may_repeat(status):
            status = self._wait_end(self.line.start(), "to its end")
        problem = self._problem(status, plain)
        if problem is not None:
            return problem
        if self.bench.events.count("resumed") < self.terms.kills:
            return Finding(FAILS, "it was not resumed after each kill: " + self._said())
        return Finding(WORKS, self._notes())

    def _move(self) -> None:
        """Move the folder, and follow what a refusal to go on there says."""
        self.line.move()
        refused = self.line.start()
        if self._wait_end(refused, "it is refused in a moved folder") != FAILED_STATUS:
            return
        if advice := _ADVICE.search(self.bench.said()):
            self.line.type_what_was_said(advice[1])

    def _live_until_killed(self) -> int | None:
        """Kill it once it ran on beyond a generation that is newer than what it came from; None, or its status."""
        while True:
            newest, resumes, began = self.bench.newest, self._resumes(), time.monotonic()
            process = self.line.start()
            self._wait_generation(process, newest, began, resumes)
            if self._came_too_early(process):
                continue
            is_beyond = self.bench.beyond_checkpoint(process, None if self.program.is_silent else "out.txt")
            wait(process, is_beyond, self.terms.generation_s, "nothing is done after a generation")
            run_on(process, self.terms.beyond_s)
            if process.poll() is None:
                kill_all(process)
                return self._finished()
            if not self._may_repeat(process.returncode):
                return process.returncode

    def _finished(self) -> int | None:
        """Return the status with which it came to its end in the moment in which it was killed; None if it did not."""
        state = json.loads((self.bench.job / "state.json").read_text())
        return state["status"] if state["phase"] == "finished" else None

    def _came_too_early(self, process: Process) -> bool:
        """Start over with a longer interval where the program had not come to its first step when it was taken."""
        if process.poll() is not None or self._resumes() or self.program.is_silent or self.program.typed:
            return False
        if self.bench.newest and self.bench.manifest["stdout_size"]:
            return False
        kill_all(process)
        for path in self.bench.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.line.begin()
        self.line.interval_s *= 2
        return True

    def _may_repeat(self, status: int) -> bool:
        """Whether it ended in an error after which the same line goes on; a user would give it again."""
        if status != FAILED_STATUS or not self.bench.generations or self.repeats == self.terms.most_repeats:
            return False
        self.repeats += 1
        return True

    def _wait_generation(self, process: Process, newest: int, began: float, resumes: int) -> None:
        is_timed = False

        def is_there() -> bool:
            nonlocal is_timed
            if not is_timed and self._resumes() > resumes:
                is_timed = True
                self.resume_s.append(time.monotonic() - began)
            return self.bench.newest > newest

        wait(process, is_there, self.terms.generation_s, "no generation")

    def _resumes(self) -> int:
        return self.bench.events.count("resumed")

    def _wait_end(self, process: Process, what: str) -> int:
        return wait_end(process, self.terms.end_s, what)

    def _ended_early(self, kill: int, status: int, plain: Process) -> Finding:
        """Say what it is that it came to an end before it could be killed."""
        problem = self._problem(status, plain)
        if problem is not None:
            if status == FAILED_STATUS and not self.bench.generations and not self._engine_failed():
                return Finding(REFUSED, reason_in(self.bench.said()))
            return problem
        if not self.bench.generations and "checkpointed" not in self.bench.events:
            return Finding(NO_GENERATION, self._said() or "it was over before")
        if _NOT_MADE in self._said():
            return Finding(NO_GENERATION, self._said())
        moment = "no new generation after a resume" if kill else "it was over too soon after its generation"
        return Finding(FAILS, f"{moment}: {self._said()}")

    def _engine_failed(self) -> bool:
        events = self.bench.events
        return any(event in {"engine-failed", "failed"} for event in events) and "refused" not in events

    def _problem(self, status: int, plain: Process) -> Finding | None:
        """Compare status, streams and files with those of the run that was left alone."""
        wanted = self._wait_end(plain, "the uninterrupted run ends")
        wanted = 128 - wanted if wanted < 0 else wanted
        compared = self._compared()
        different = compared.different()
        if status != wanted:
            why = self._said() or "; ".join(map(compared.first_difference, different[:1]))
            return Finding(FAILS, f"status {_status(status)}, not {wanted}: {why}")
        if not different:
            return None
        if different == ["err.txt"]:
            more = compared.more_in("err.txt")
            return None if more else Finding(FAILS, f"stderr differs: {compared.first_difference('err.txt')}")
        first = compared.first_difference(different[0])
        return Finding(WRONG, f"status {status}, but {first} ({', '.join(different)})")

    def _compared(self) -> Comparison:
        return Comparison(self.bench.folder, self.bench.plain, self.program.ignored)

    def _said(self) -> str:
        return last_words(self.bench.said())

    def _notes(self) -> str:
        besides = [f"stderr has besides: {line}" for line in self._compared().more_in("err.txt")[:1]]
        return "; ".join([*notes_on(self.bench.said(), self.repeats), *besides])


def _status(status: int) -> str:
    return f"-{signal.Signals(-status).name}" if status < 0 else str(status)
