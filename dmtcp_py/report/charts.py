"""Where the marks of the charts lie, in percent of their width and height. PURE; the templates draw them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.report.spans import Span, Use
from dmtcp_py.system.units import format_duration, short_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MOST_TICKS = 7
_MOST_STICKS = 400
_LEAST_SHARE = 0.002
"""A checkpoint that takes less of the width than this is no stretch of its own."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 182 * _DAY, 365 * _DAY),
)


class Mark(Struct, frozen=True):
    """A stretch of a bar: from X on, WIDTH wide."""

    use: str
    x: float
    width: float
    title: str


class Tick(Struct, frozen=True):
    """A moment on the axis of time."""

    x: float
    label: str

    @property
    def anchor(self) -> str:
        """How its label lies, so that it does not leave the chart."""
        return "start" if self.x < 10 else "end" if self.x > 90 else "middle"  # noqa: PLR2004 - percent


class Axis(Struct, frozen=True):
    """The time from BEGIN to END on the width of a chart."""

    begin: datetime
    end: datetime

    @property
    def length_s(self) -> float:
        """How long it is."""
        return max((self.end - self.begin).total_seconds(), 0.001)

    def x(self, at: datetime) -> float:
        """Return where the moment lies, in percent."""
        share = (at - self.begin).total_seconds() / self.length_s
        return round(100 * min(max(share, 0.0), 1.0), 3)

    def ticks(self) -> Iterator[Tick]:
        """Yield a few round moments of the clock here."""
        step_s = next((step for step in _STEPS_S if self.length_s / step <= _MOST_TICKS), _STEPS_S[-1])
        shift_s = (self.begin.astimezone().utcoffset() or timedelta()).total_seconds()
        first = math.ceil((self.begin.timestamp() + shift_s) / step_s) * step_s - shift_s
        form = "%H:%M:%S" if step_s < _MINUTE else "%H:%M" if self.length_s < _DAY else "%m-%d %H:%M"
        form = "%m-%d" if step_s >= _DAY else form
        at = datetime.fromtimestamp(first, timezone.utc)
        while at <= self.end:
            yield Tick(self.x(at), f"{at.astimezone():{form}}")
            at += timedelta(seconds=step_s)


def bar(spans: Sequence[Span], axis: Axis) -> list[Mark]:
    """Return the bar of SPANS; checkpoints too short to be seen belong to the stretch around them."""
    merged: list[Span] = []
    for span in spans:
        use = span.use
        if merged and use is Use.CHECKPOINTS and span.length_s / axis.length_s < _LEAST_SHARE:
            use = merged[-1].use
        if merged and merged[-1].use is use:
            merged[-1] = Span(use, merged[-1].begin, span.end)
        else:
            merged.append(Span(use, span.begin, span.end))
    return [
        Mark(
            use=span.use.value,
            x=axis.x(span.begin),
            width=round(axis.x(span.end) - axis.x(span.begin), 3),
            title=f"{LABELS[span.use]}: {length(span.length_s)} from {span.begin.astimezone():%Y-%m-%d %H:%M:%S}",
        )
        for span in merged
    ]


def shares(parts: Iterable[tuple[Use, float]]) -> list[Mark]:
    """Return the bar of PARTS, one after another, of which the whole width is the sum."""
    known = [(use, part) for use, part in parts if part > 0]
    total, x, found = sum(part for _, part in known), 0.0, []
    for use, part in known:
        width = 100 * part / total
        found.append(Mark(use=use.value, x=round(x, 3), width=round(width, 3), title=f"{LABELS[use]}: {length(part)}"))
        x += width
    return found


def sticks(values: Sequence[tuple[datetime, float]], axis: Axis) -> str:
    """Return the path of a stick for each value, 1000 wide and 100 high; of many at one place, the longest."""
    most = max((value for _, value in values), default=0.0) or 1.0
    highest: dict[int, float] = {}
    for at, value in values:
        place = round(axis.x(at) * _MOST_STICKS / 100)
        highest[place] = max(highest.get(place, 0.0), value)
    return " ".join(
        f"M{place * 1000 / _MOST_STICKS:g} 100V{100 - 100 * value / most:.1f}" for place, value in highest.items()
    )


def length(seconds: float) -> str:
    """Return SECONDS for a person: with tenths if it is short."""
    return format_duration(seconds) if seconds < _MINUTE else short_duration(seconds)


LABELS = {
    Use.COMPUTED: "computed",
    Use.LOST: "lost and repeated",
    Use.CHECKPOINTS: "checkpoints",
    Use.STARTS: "starting and resuming",
    Use.QUEUE: "waiting in the queue",
    Use.IDLE: "not running",
}
