"""One program that runs on for ever, on one engine: killed and resumed, and whether it runs still."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kit.processes import kill_all
from zoo.ends import run_on, wait
from zoo.finding import FAILS, NOT_RUN, REFUSED, STUCK, WORKS, Finding
from zoo.life import FAILED_STATUS
from zoo.line import Line
from zoo.said import costs_of, last_words, notes_on, reason_in, shorten

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.programs import Places, Program
    from zoo.life import Terms

    Process = subprocess.Popen[bytes]


@dataclass
class StillRuns:
    """The lives of a program that has no result, in one workbench."""

    bench: Workbench
    program: Program
    places: Places
    terms: Terms
    without: str = ""

    @cached_property
    def line(self) -> Line:
        """The line that is typed in each life."""
        return Line(self.bench, self.program, self.places, self.without)

    def find(self) -> Finding:
        """Kill it as often as the terms say, each time after a generation, and see whether it runs on in the end."""
        self.line.begin()
        try:
            found = self._lives()
        except TimeoutError as error:
            found = Finding(STUCK, f"hangs: {error}; {self._said()}".strip("; "))
        folders = (self.places.built, self.places.folder)
        return replace(found, detail=shorten(found.detail, self.bench, folders), **costs_of(self.bench, []))

    def _lives(self) -> Finding:
        for _ in range(self.terms.kills + 1):
            newest = self.bench.newest
            process = self.line.start()
            wait(process, lambda newest=newest: self.bench.newest > newest, self.terms.generation_s, "no generation")  # type: ignore[misc]
            run_on(process, self.terms.beyond_s)
            if process.poll() is not None:
                return self._ended(process.returncode)
            kill_all(process)
        if self.bench.events.count("resumed") < self.terms.kills:
            return Finding(FAILS, "it was not resumed after each kill: " + self._said())
        return Finding(WORKS, "; ".join(notes_on(self.bench.said(), 0)))

    def _ended(self, status: int) -> Finding:
        if status == FAILED_STATUS and not self.bench.generations:
            return Finding(REFUSED, reason_in(self.bench.said()))
        if self._ends_alone(status):
            return Finding(NOT_RUN, f"it ends alone, with status {status}")
        return Finding(FAILS, f"it ended with status {status}: {self._said()}")

    def _ends_alone(self, status: int) -> bool:
        """Whether it ends with STATUS without dmtcp-run too."""
        plain = self.line.start_plain()
        try:
            alone = plain.wait(self.terms.end_s)
            return (128 - alone if alone < 0 else alone) == status
        except subprocess.TimeoutExpired:
            kill_all(plain)
            return False

    def _said(self) -> str:
        return last_words(self.bench.said()) or (self.bench.said("err.txt").strip().splitlines() or [""])[-1]
