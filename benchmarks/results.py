"""The results of a benchmark: a table on the terminal, ``docs/benchmarks.json``, and ``docs/benchmarks.svg``."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from html import escape
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
_WIDTH, _LINE, _TOP, _LEFT, _RIGHT = 860, 34, 76, 330, 150
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 12px; fill: #57606a }
.axis { stroke: #8c959f; stroke-dasharray: 3 3 }
.kept { fill: #1a7f37 }
.beyond { fill: #cf222e }
.bound { stroke: #24292f; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .bound { stroke: #e6edf3 }
}
"""


class Row(NamedTuple):
    """One comparison: the medians of dmtcp-run and of what it is compared with, and the largest value it may have."""

    name: str
    ours: float
    bare: float | None
    measured: float
    bound: float
    unit: str
    """``ratio`` for MEASURED = OURS / BARE, otherwise the unit of the values."""
    pairs: int

    @property
    def is_kept(self) -> bool:
        """Whether the bound is kept."""
        return self.measured <= self.bound


class Results:
    """Collects rows, and prints each at once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.machine = _machine()
        print(self.machine)
        print(f"{'':52}{'dmtcp-run':>11}{'beside it':>11}{'measured':>11}{'at most':>9}")

    def ratio(self, name: str, ours: float, bare: float, pairs: int, *, bound: float) -> None:
        """Add a row for the ratio of two medians."""
        self._add(Row(name, ours, bare, ours / bare, bound, "ratio", pairs))

    def value(self, name: str, ours: float, unit: str, pairs: int, *, bound: float) -> None:
        """Add a row for a value that is compared with nothing."""
        self._add(Row(name, ours, None, ours, bound, unit, pairs))

    def more(self, name: str, ours: float, bare: float, pairs: int, *, bound: float) -> None:
        """Add a row for how many seconds longer one median is than the other."""
        self._add(Row(name, ours, bare, ours - bare, bound, "s more", pairs))

    def write(self) -> None:
        """Write the JSON and the picture."""
        values = {"machine": self.machine, "rows": [{**row._asdict(), "kept": row.is_kept} for row in self.rows]}
        (DOCS / "benchmarks.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        (DOCS / "benchmarks.svg").write_text(picture(self.machine, self.rows), encoding="utf-8")

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        bare = "" if row.bare is None else f"{row.bare:.3f}"
        mark = "" if row.is_kept else "  beyond"
        print(f"{row.name:52}{row.ours:11.3f}{bare:>11}{row.measured:11.3f}{row.bound:9.3f}{mark}", flush=True)


def picture(machine: str, rows: list[Row]) -> str:
    """Return the SVG: for each row a bar, whose length is its share of the bound."""
    height = _TOP + _LINE * len(rows) + 20
    at_bound = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    lines = "".join(_bar(row, _TOP + _LINE * number, at_bound) for number, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>What dmtcp-run costs beside bare DMTCP and CRIU</title><style>{_STYLE}</style>"
        f'<text x="10" y="24">{escape(machine)}</text>'
        f'<text class="small" x="10" y="44">Each bar is a median; the line is what it may be at most.</text>'
        f'<line class="axis" x1="{at_bound}" y1="{_TOP - 18}" x2="{at_bound}" y2="{height - 16}"/>{lines}</svg>\n'
    )


def _bar(row: Row, y: int, at_bound: float) -> str:
    share = min(max(row.measured, 0.0) / row.bound, 2.0)
    length = (at_bound - _LEFT) * share
    sign = " times" if row.unit == "ratio" else f" {row.unit}"
    text = f"{row.measured:.3g}{sign}, at most {row.bound:g}"
    kind = "kept" if row.is_kept else "beyond"
    return (
        f'<text x="10" y="{y + 14}">{escape(row.name)}</text>'
        f'<rect class="{kind}" x="{_LEFT}" y="{y + 2}" width="{max(length, 1):.1f}" height="16" rx="2"/>'
        f'<text class="small" x="{_WIDTH - _RIGHT + 8}" y="{y + 14}">{escape(text)}</text>'
    )


def _machine() -> str:
    """Return what was measured on: the processors, how busy they were, the kernel, the versions, and the day."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{os.cpu_count()} x {name}, {load}, Linux {platform.release()}, Python {platform.python_version()}, {today}"
