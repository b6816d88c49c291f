"""docs/cases.md, written from docs/cases.json and the notes of the cases, and from nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cases.case_list import CASES, is_right, note
from kit.places import REPOSITORY
from zoo import finding, measure
from zoo.finding import Finding
from zoo.tables import escaped, table, title

PAGE = REPOSITORY / "docs" / "cases.md"
_HEAD = """\
# Cases from public complaints

Small programs, each written anew after a complaint in a public tracker, and each of a kind that a checkpointer may get
wrong. `make cases` wrote this page. It runs each program once alone, and once with `dmtcp-run` and an engine; there it
kills everything with SIGKILL at two random moments, each after a checkpoint, and types the same line again. Then it
compares the exit status, the output and all files, byte for byte. The programs are in `tests/cases/programs/`.

| cell | result |
|---|---|
| right | everything was as in the run without interruption |
| refused | dmtcp-run exited with 125 before there was anything to lose, and printed the reason |
| no generation | the program ran to its correct end, and dmtcp-run said why there was no checkpoint |
| **fails** | an error, or another exit status |
| **stuck** | no end within the time allowed |
| **WRONG** | the right exit status, and another result |

A column is one engine, chosen by name; "no privileges" is CRIU as an ordinary user has it. AUTO is what dmtcp-run takes
if none is named, with that DMTCP and CRIU installed.
"""
_RIGHT = "right"
_FINE = {finding.WORKS: _RIGHT, finding.NEEDS_SETTING: _RIGHT}


def write() -> None:
    """Write the page."""
    PAGE.write_text(text(measure.load(CASES)))


def text(results: dict[str, Any]) -> str:
    """Return the page for RESULTS."""
    notes: dict[str, int] = {}
    engines, cells = results["engines"], results["cells"]
    rows = [[name, *(_cell(row.get(engine), notes) for engine in engines)] for name, row in cells.items()]
    rows.append(["right or refused", *(_count(cells, engine) for engine in engines)])
    said = "\n".join(f"[^{number}]: {escaped(words)}" for words, number in notes.items())
    sources = "\n".join(f"### {name}\n\n{_as_list(note(name))}" for name in cells)
    return "\n".join([_HEAD, table(["case", *map(title, engines)], rows), said, "", "## Sources", "", sources])


def _cell(values: dict[str, Any] | None, notes: dict[str, int]) -> str:
    if values is None:
        return finding.NOT_RUN
    state = _FINE.get(values["state"], values["state"])
    shown = state if _is_right(values) or state == finding.NOT_RUN else f"**{state}**"
    detail = values.get("detail", "")
    return f"{shown} [^{notes.setdefault(detail, len(notes) + 1)}]" if detail else shown


def _count(cells: dict[str, dict[str, Any]], engine: str) -> str:
    counted = Counter(_is_right(row[engine]) for row in cells.values() if engine in row)
    return f"{counted[True]} of {counted.total()}"


def _is_right(values: dict[str, Any]) -> bool:
    return is_right(Finding(values["state"], values.get("detail", "")))


def _as_list(words: str) -> str:
    return "".join(f"- {escaped(line)}\n" for line in words.splitlines() if line.strip())
