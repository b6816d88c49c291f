"""The whole account of a job: its lives, what its time went into, whether all is well. PURE but for `account_of`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from dmtcp_py.attempt.fit import Level
from dmtcp_py.report.events import end_text
from dmtcp_py.report.judgement import judge
from dmtcp_py.report.spans import Span, Use, spans_of, sums, waits_of
from dmtcp_py.report.status import status_of
from dmtcp_py.report.words import doing
from dmtcp_py.store.records import utc_now
from dmtcp_py.system.units import short_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from dmtcp_py.attempt.fit import Finding
    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.report.lives import Checkpoint, Life
    from dmtcp_py.report.status import BatchId, Status
    from dmtcp_py.store.layout import JobLayout


class Figures(Struct, frozen=True, kw_only=True):
    """Sums over all lives, in seconds and bytes."""

    computed_s: float
    """What was computed and kept, without the time of checkpoints."""
    lost_s: float
    checkpoints_s: float
    starts_s: float
    queue_s: float
    idle_s: float
    checkpoints: int
    interruptions: int
    """How often the program was started or resumed after its first life."""
    attempts: int
    size: int
    """What the generations on disk take."""

    @property
    def ran_s(self) -> float:
        """How long the program was there, whatever came of it."""
        return self.computed_s + self.lost_s + self.checkpoints_s

    @property
    def overhead(self) -> float:
        """The share of that time that went into checkpoints."""
        return self.checkpoints_s / self.ran_s if self.ran_s else 0.0

    @property
    def survived(self) -> float:
        """The share of what was computed that was kept."""
        computed_s = self.computed_s + self.lost_s
        return self.computed_s / computed_s if computed_s else 1.0


class Account(Struct, frozen=True, kw_only=True, dict=True):
    """All about a job at a moment. ROW is its status; LIVES are those of its newest run."""

    row: dict[str, Any]
    now: datetime
    doing: str
    lives: tuple[Life, ...]
    figures: Figures
    findings: tuple[Finding, ...]
    """The first says what is the matter altogether."""

    @property
    def summary(self) -> str:
        """What was computed and lost, as a sentence."""
        figures = self.figures
        lost = f"{short_duration(figures.lost_s)} lost" if figures.lost_s else "nothing lost"
        resumes = f"resumed {figures.interruptions} time{'' if figures.interruptions == 1 else 's'}"
        checkpoints = f"checkpoints took {figures.overhead:.1%} of the time"
        return f"{short_duration(figures.computed_s)} computed and kept, {lost}; {resumes}; {checkpoints}"

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All that were committed, oldest first."""
        return tuple(one for life in self.lives for one in life.checkpoints)

    @property
    def troubles(self) -> tuple[dict[str, Any], ...]:
        """The lines of the history that say what went wrong, or ended an attempt before the program's end."""
        return tuple(line for life in self.lives for line in life.troubles)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """What its time went into, oldest first."""
        return spans_of(self.lives, queued_until=_queued_until(self.row, self.now))

    @property
    def level(self) -> Level:
        """How well all is."""
        return worst(self.findings)

    @property
    def lineage(self) -> int:
        """Which run of the job's program it is about: the newest."""
        return int(self.lives[-1].facts.get("lineage", 1)) if self.lives else 1

    @property
    def options(self) -> dict[str, Any]:
        """What was set at the newest start; empty if an older release recorded none."""
        return (self.lives[-1].facts.get("options") if self.lives else None) or {}


def worst(findings: Sequence[Finding]) -> Level:
    """Return the worst level of FINDINGS."""
    order = list(Level)
    return max((one.level for one in findings), key=order.index, default=Level.OK)


def account_of(layout: JobLayout, batch: Mapping[BatchId, BatchJob]) -> Account:
    """Return the account of the job of LAYOUT, together with its scheduler's reports in BATCH."""
    return account(status_of(layout, batch), utc_now())


def account(found: Status, now: datetime) -> Account:
    """Return the account of a job from its status at NOW."""
    row, lives = found.row, found.lives
    figures = _figures(lives, sums(waits_of(lives, queued_until=_queued_until(row, now))), row["size"] or 0)
    return Account(
        row=row,
        now=now,
        doing=doing(row),
        lives=lives,
        figures=figures,
        findings=tuple(judge(found, now, overhead=figures.overhead, ran_s=figures.ran_s)),
    )


def _queued_until(row: dict[str, Any], now: datetime) -> datetime | None:
    return now if row["phase"] == "waiting" else None


def _figures(lives: Sequence[Life], went: Mapping[Use, float], size: int) -> Figures:
    return Figures(
        computed_s=sum(life.kept_s for life in lives),
        lost_s=sum(life.lost_s for life in lives),
        checkpoints_s=sum(life.pauses_s for life in lives),
        starts_s=went[Use.STARTS],
        queue_s=went[Use.QUEUE],
        idle_s=went[Use.IDLE],
        checkpoints=sum(len(life.generations) for life in lives),
        interruptions=max(len(lives) - 1, 0),
        attempts=len({life.attempt for life in lives}),
        size=size,
    )


def plain(found: Account, *, is_whole: bool) -> dict[str, Any]:
    """Return an account as plain values, as ``--json`` prints them: with each attempt and span if IS_WHOLE."""
    figures = found.figures
    shares = {"ran_s": figures.ran_s, "overhead": figures.overhead, "survived": figures.survived}
    values: dict[str, Any] = {
        **found.row,
        "lineage": found.lineage,
        "level": found.level,
        "findings": found.findings,
        "figures": {**asdict(figures), **shares},
    }
    if not is_whole:
        return values
    return {
        **values,
        "options": found.options,
        "lives": [{**asdict(life), "end": end_text(life)} for life in found.lives],
        "spans": found.spans,
        "troubles": found.troubles,
    }
