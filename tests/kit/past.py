"""The past of a job, written as dmtcp-run would have: its records and history, but no images."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)


@dataclass
class Past:
    """A job in FOLDER, at a moment; each method has something happen to it, which takes its time."""

    folder: Path
    at: datetime = BEGIN
    attempt: int = 0
    generation: int = 0
    size: int = 400_000_000
    lines: list[dict[str, Any]] = field(default_factory=list)
    _came_up: datetime = BEGIN

    def passes(self, seconds: float) -> Past:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        return self

    def starts(self, **values: Any) -> Past:
        """Launch the program, in a new attempt."""
        return self._begins("started", why="new", **values)

    def resumes(self, generation: int | None = None, *, is_same_attempt: bool = False, **values: Any) -> Past:
        """Resume the program from GENERATION, or the newest."""
        number = generation or self.generation
        return self._begins("resumed", generation=number, is_same_attempt=is_same_attempt, **values)

    def computes(
        self, seconds: float, *, pause_s: float | None = None, reason: str = "interval", **values: Any
    ) -> Past:
        """Compute for so long; then commit a generation, for which the program waits PAUSE_S, unless that is None."""
        self.passes(seconds)
        if pause_s is None:
            return self
        ran_s = (self.at - self._came_up).total_seconds()
        self.passes(pause_s)
        self.generation += 1
        self.happens(
            "checkpointed",
            generation=self.generation,
            lineage=1,
            reason=reason,
            size=self.size,
            ran_s=ran_s,
            checkpoint_s=pause_s,
            commit_s=0.5,
            **{"program_stopped": False, **values},
        )
        return self.happens("pruned", generation=self.generation - 2, rule="--keep 2") if self.generation > 2 else self

    def ends(self, event: str, **values: Any) -> Past:
        """End the attempt, noted as EVENT."""
        ran_s = (self.at - self._came_up).total_seconds()
        return self.happens(event, **{"lineage": 1, "status": 0, "ran_s": ran_s, "detail": "", **values})

    def happens(self, event: str, **values: Any) -> Past:
        """Add a line to the history."""
        self.lines.append({"time": self.at, "event": event, "epoch": self.attempt, **values})
        return self

    def write(self, phase: str, **state: Any) -> Past:
        """Write the job's records, of which the last attempt left PHASE; the machine is another one than this."""
        self.folder.mkdir(parents=True)
        job = {"lineage": 1, "command": ["./simulate", "model.cfg"], "cwd": "/scratch/ann", "created": BEGIN}
        record = {"epoch": self.attempt, "host": "node17", "pid": 7, "boot_id": "x", "released": phase != "running"}
        common = {"lineage": 1, "epoch": self.attempt, "phase": phase, "started": BEGIN, "updated": self.at}
        self._record("job.json", job)
        self._record("lock", record)
        self._record("state.json", {**common, "engine": "dmtcp 4.2.0", **state})
        text = b"".join(msgspec.json.encode(line) + b"\n" for line in self.lines)
        (self.folder / "history.jsonl").write_bytes(text)
        for number in range(max(self.generation - 1, 1), self.generation + 1):
            (self.folder / "generations" / f"{number:06}").mkdir(parents=True)
        return self

    def _begins(self, event: str, *, took_s: float = 1.0, is_same_attempt: bool = False, **values: Any) -> Past:
        self.attempt += not is_same_attempt
        self.passes(took_s)
        self._came_up = self.at
        options = {"interval_s": -1.0, "keep": 2, "engine": "auto", "stdout": "out.txt"}
        common = {"lineage": 1, "took_s": took_s, "host": "node17", "pid": 7, "engine": "dmtcp 4.2.0"}
        return self.happens(
            event, **{**common, "options": options, "submitted": None, "scheduler_job": "4711", **values}
        )

    def _record(self, name: str, values: dict[str, Any]) -> None:
        (self.folder / name).write_bytes(msgspec.json.encode({"format": 1, **values}))


def three_days(folder: Path) -> Past:
    """Return a job that ran for three days in Slurm and was interrupted four times."""
    past = Past(folder)
    past.passes(3 * 3600).starts(submitted=BEGIN)
    for _ in range(40):
        past.computes(1790, pause_s=9.5)
    past.size += 60_000_000
    past.computes(1200, pause_s=11, reason="time limit", program_stopped=True)
    past.passes(2).ends("checkpointed", status=85, generation=past.generation, stopped_for="time limit")
    past.happens("follows", what="requeue", why="time limit", next_job=None)
    past.passes(5 * 3600).resumes(took_s=14)
    for _ in range(12):
        past.computes(1800, pause_s=10)
    past.computes(1500)
    killed = past.at
    past.passes(2 * 3600).attempt += 1
    past.happens("killed", attempt=past.attempt - 1, last_seen=killed).attempt -= 1
    past.resumes(took_s=20)
    past.computes(1800, pause_s=10).computes(700)
    past.happens("failed", what="engine", error="the coordinator is gone", ran_s=2510.0)
    past.passes(3).resumes(is_same_attempt=True, took_s=15)
    past.computes(1800)
    past.happens(
        "failed", what="checkpoint", error="1.2 GB are free in /scratch and the images take about 2 GB", lives=True
    )
    for _ in range(20):
        past.computes(1800, pause_s=12)
    past.computes(60).ends("signalled", status=143)
    past.passes(1800).resumes(took_s=12)
    for _ in range(30):
        past.computes(1800, pause_s=12)
    return past
