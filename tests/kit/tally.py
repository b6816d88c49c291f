"""What came of the jobs of a campaign: how each ended, and which of the steps that were computed were lost.

The program leaves a file for each step that it computes, outside of any checkpoint: steps that were computed again are
counted in the same way whatever took the checkpoints.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from kit.bench import counted

if TYPE_CHECKING:
    from pathlib import Path

STEP_S = 0.1
"""The pause of the program that counts."""


class Output(Enum):
    """What a job's output is."""

    IDENTICAL = "output identical"
    NOT_EXACT = "lines missing or repeated"
    """Only the last line, the result, is right."""
    NO_RESULT = "result missing or wrong"


@dataclass
class Job:
    """A batch script in a folder of its own, submitted once or, after it was cancelled, more often."""

    folder: Path
    steps: int
    ids: list[str] = field(default_factory=list)

    @property
    def computed(self) -> Counter[int]:
        """How often each step was computed."""
        return Counter(int(path.name.partition(".")[0]) for path in (self.folder / "stamps").iterdir())

    @property
    def output(self) -> Output:
        """What the output is beside that of a run without interruption."""
        plain = counted(self.steps)
        path = self.folder / "out.txt"
        mine = path.read_bytes() if path.exists() else b""
        if mine == plain:
            return Output.IDENTICAL
        return Output.NOT_EXACT if mine.splitlines()[-1:] == plain.splitlines()[-1:] else Output.NO_RESULT

    @property
    def log(self) -> str:
        """What Slurm kept of the script's own output."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass(frozen=True)
class End:
    """How a job ended, and what was computed for it."""

    job: Job
    state: str
    status: str
    starts: int
    output: Output
    computed: int
    distinct: int

    @property
    def has_finished(self) -> bool:
        """Whether Slurm, and so whatever waits for the job, takes it for done."""
        return self.state == "COMPLETED"

    @property
    def lost(self) -> int:
        """The steps that were computed for nothing."""
        has_result = self.has_finished and self.output is not Output.NO_RESULT
        return self.computed - self.distinct if has_result else self.computed

    def __str__(self) -> str:
        name, steps = self.job.folder.name, f"{self.distinct} of {self.job.steps} steps"
        words = f"{name}: {self.state} {self.status}, {steps}, {self.output.value}"
        last = [line for line in self.job.log.splitlines() if line.strip()][-3:]
        return "\n    ".join([words, *last])


@dataclass
class Result:
    """What came of a campaign."""

    ends: list[End]
    wall_s: float
    harms: Counter[str]
    revived: list[str]
    """Jobs that were cancelled and did not stay so."""

    @property
    def row(self) -> dict[str, str]:
        """The figures, by name."""
        finished = Counter(end.output for end in self.ends if end.has_finished)
        computed, lost = (sum(getattr(end, name) for end in self.ends) for name in ("computed", "lost"))
        again = sum(end.computed - end.distinct for end in self.ends)
        return {
            "jobs": str(len(self.ends)),
            **{f"status 0, {output.value}": str(finished[output]) for output in Output},
            "not finished": str(len(self.ends) - finished.total()),
            "starts of jobs": str(sum(end.starts for end in self.ends)),
            "steps computed": str(computed),
            "steps computed again": f"{again} ({again * STEP_S:.0f} s)",
            "steps lost": f"{lost} ({lost * STEP_S:.0f} s, {100 * lost / max(computed, 1):.0f} %)",
            "wall time": f"{self.wall_s:.0f} s",
        }


def table(results: dict[str, Result]) -> str:
    """Return the figures of RESULTS side by side; lost are steps computed again, and all of jobs without a result."""
    rows = {name: result.row for name, result in results.items()}
    names = list(next(iter(rows.values())))
    wide = max(map(len, names))
    lines = ["".join([" " * wide, *(f"{name:>22}" for name in rows)])]
    lines += ["".join([name.ljust(wide), *(f"{row[name]:>22}" for row in rows.values())]) for name in names]
    return "\n".join(lines)
