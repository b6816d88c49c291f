"""The report of a job, and of all jobs, as one page of HTML without scripts and without anything from the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.fit import Level
from dmtcp_py.report import charts
from dmtcp_py.report.charts import LABELS, Axis, length
from dmtcp_py.report.events import end_text, event_text
from dmtcp_py.report.options import option_texts
from dmtcp_py.report.spans import Use
from dmtcp_py.store.lines import time_of
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from jinja2 import Environment

    from dmtcp_py.report.account import Account
    from dmtcp_py.report.lives import Life

_MOST_ROWS = 200
"""How many checkpoints are listed; the newest are."""
_SMALL = 0.1
_LEAST = 0.0001
_SIGNS = {Level.OK: "✓", Level.WARNING: "!", Level.PROBLEM: "✗"}
_VERDICTS = {Level.OK: "All is well", Level.WARNING: "Needs a look", Level.PROBLEM: "Problem"}


def job_report(found: Account, version: str) -> str:
    """Return the page of one job, by this VERSION of dmtcp-py."""
    axis = Axis(found.spans[0].begin, found.spans[-1].end) if found.spans else None
    checkpoints = found.checkpoints
    return _render(
        "job.html",
        account=found,
        figures=found.figures,
        axis=axis,
        bar=charts.bar(found.spans, axis) if axis else (),
        sizes=charts.sticks([(one.at, one.size) for one in checkpoints], axis) if axis else "",
        pauses=charts.sticks([(one.at, one.pause_s) for one in checkpoints], axis) if axis else "",
        checkpoints=checkpoints,
        listed=checkpoints[: -_MOST_ROWS - 1 : -1],
        lives=[(life, _parts(life), end_text(life)) for life in found.lives],
        troubles=[(time_of(line), event_text(line)) for line in found.troubles],
        options=option_texts(found.options),
        now=found.now,
        version=version,
    )


def jobs_report(found: Sequence[Account], directory: str, now: datetime, version: str) -> str:
    """Return the page of all jobs of DIRECTORY, those with the worst troubles first."""
    order = list(Level)
    rows = sorted(found, key=lambda one: (-order.index(one.level), one.row["job"]))
    counts = {level: sum(one.level is level for one in found) for level in Level}
    return _render(
        "jobs.html", rows=rows, counts=counts, directory=directory, now=now, version=version, parts=_parts_of
    )


def _parts(life: Life) -> list[charts.Mark]:
    return charts.shares([(Use.COMPUTED, life.kept_s), (Use.CHECKPOINTS, life.pauses_s), (Use.LOST, life.lost_s)])


def _parts_of(found: Account) -> list[charts.Mark]:
    figures = found.figures
    return charts.shares(
        [
            (Use.COMPUTED, figures.computed_s),
            (Use.CHECKPOINTS, figures.checkpoints_s),
            (Use.LOST, figures.lost_s),
        ]
    )


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - for these pages alone

    environment = Environment(
        # names of jobs and words of commands may be anything
        autoescape=True,
        loader=PackageLoader("dmtcp_py.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "day": _day,
        "duration": length,
        "moment": _moment,
        "percent": percent,
        "sentence": _sentence,
        "size": format_size,
    }
    environment.globals |= {
        "Use": Use,
        "labels": LABELS,
        "signs": _SIGNS,
        "verdicts": _VERDICTS,
        "Level": Level,
    }
    return environment


def percent(share: float) -> str:
    """Return a share as people read it: the smaller, the more digits."""
    if not share:
        return "0%"
    if share < _LEAST:
        return "<0.01%"
    # 99.96% is not all
    return f"{share:.2%}" if share < _SMALL or 1 - _LEAST > share > 1 - _SMALL / 10 else f"{share:.0%}"


def _moment(at: datetime | None) -> str:
    return "?" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _day(at: datetime) -> str:
    return f"{at.astimezone():%m-%d %H:%M}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
