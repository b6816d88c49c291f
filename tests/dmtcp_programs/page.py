"""docs/dmtcp-programs.md, written from docs/dmtcp-programs.json, and from nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dmtcp_programs.program_list import PROGRAMS
from kit.places import REPOSITORY
from zoo import finding, measure
from zoo.tables import escaped, table, title

PAGE = REPOSITORY / "docs" / "dmtcp-programs.md"
_HEAD = """\
# DMTCP's own test programs

`make dmtcp-programs DIR=…` wrote this page; DIR is a folder in which DMTCP's test programs were built. Each is started
with `dmtcp-run`, and killed with SIGKILL twice, each time after a checkpoint; the same line is typed again. The cell
says whether the program then ran on, and was checkpointed once more.

| cell | result |
|---|---|
| works | it ran on after both kills |
| refused | dmtcp-run exited with 125 before there was anything to lose, and printed the reason |
| not run | it comes to its end too soon, without dmtcp-run too |
| **fails** | it came to another end |
| **stuck** | no checkpoint within the time allowed |
"""


def write() -> None:
    """Write the page."""
    PAGE.write_text(text(measure.load(PROGRAMS)))


def text(results: dict[str, Any]) -> str:
    """Return the page for RESULTS."""
    notes: dict[str, int] = {}
    engines, cells = results["engines"], results["cells"]
    rows = [[name, *(_cell(row.get(engine), notes) for engine in engines)] for name, row in cells.items()]
    rows.append(["works", *(_count(cells, engine) for engine in engines)])
    said = "".join(f"[^{number}]: {escaped(words)}\n" for words, number in notes.items())
    return "\n".join([_HEAD, table(["program", *map(title, engines)], rows), said])


def _cell(values: dict[str, Any] | None, notes: dict[str, int]) -> str:
    if values is None:
        return finding.NOT_RUN
    state, detail = values["state"], values.get("detail", "")
    shown = f"**{state}**" if state in finding.BROKEN else state
    return f"{shown} [^{notes.setdefault(detail, len(notes) + 1)}]" if detail else shown


def _count(cells: dict[str, dict[str, Any]], engine: str) -> str:
    states = Counter(row[engine]["state"] for row in cells.values() if engine in row)
    del states[finding.NOT_RUN]
    return f"{states[finding.WORKS]} of {states.total()}"
