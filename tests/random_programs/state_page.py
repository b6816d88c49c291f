"""docs/state.md, written from docs/state.json and docs/random.json, and from nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kit.places import REPOSITORY
from random_programs import counts, state_cells
from random_programs.kinds import SUBJECTS
from zoo.tables import escaped, table, title

PAGE = REPOSITORY / "docs" / "state.md"
FINE = (
    state_cells.KEPT,
    state_cells.PUT_BACK,
    state_cells.AS_IT_WAS,
    state_cells.REFUSED,
    state_cells.HARMLESS,
)
_HEAD = """\
# What a process has besides memory and files

`make state` wrote this page. For each kind of state, a program sets it, in the process itself, in a child and in a
thread where each has its own; dmtcp-run takes a checkpoint, everything is killed with SIGKILL, the same line resumes,
and the program compares what the kernel says with what it had set. The programs are those of `make random`, in
`tests/random_programs/`.

| cell | result |
|---|---|
| kept | as it was, also without the plugins of dmtcp-run: the engine keeps it |
| put back | as it was, but not without what dmtcp-run puts back |
| as it was | either of these; the run without what dmtcp-run puts back was not made |
| refused | no checkpoint is taken, and dmtcp-run prints the reason in the footnote |
| harmless | it is not as it was, and the footnote says why no result depends on it |
| **anything else** | a fault of this version of dmtcp-run |

After each resume dmtcp-run compares the processes with what was recorded at the checkpoint. `dmtcp-ctl verify --state`
prints both.
"""


def write() -> None:
    """Write the page."""
    PAGE.write_text(text(state_cells.load(), counts.load()))


def text(results: dict[str, Any], counted: list[dict[str, Any]]) -> str:
    """Return the page for the RESULTS of single kinds and what was COUNTED of random programs."""
    notes: dict[str, int] = {}
    engines, cells = results["engines"], results["cells"]
    parts = [_HEAD]
    for subject in SUBJECTS:
        names = [kind.name for kind in subject.KINDS if kind.name in cells]
        rows = [[name, *(_cell(cells[name].get(engine), notes) for engine in engines)] for name in names]
        if rows:
            parts.append(f"## {_title_of(subject)}\n\n{table(['state', *map(_column, engines)], rows)}")
    rows = [[state, *(str(_count(cells, engine)[state]) for engine in engines)] for state in _states(cells)]
    parts.append(f"## How many\n\n{table(['', *map(_column, engines)], rows)}")
    parts.append(counts.section(counted))
    parts.append("\n".join(f"[^{number}]: {escaped(words)}" for words, number in notes.items()))
    return "\n".join([*parts, ""])


def _title_of(subject: Any) -> str:
    words: str = subject.__doc__.partition(": ")[2].rstrip(".\n").partition("\n")[0].rstrip(".")
    return words[0].upper() + words[1:]


def _column(engine: str) -> str:
    return title(engine).replace("-", " ")


def _cell(values: dict[str, str] | None, notes: dict[str, int]) -> str:
    if values is None:
        return ""
    shown = values["state"] if values["state"] in FINE else f"**{values['state']}**"
    detail = values.get("detail", "")
    return f"{shown} [^{notes.setdefault(detail, len(notes) + 1)}]" if detail else shown


def _count(cells: dict[str, dict[str, dict[str, str]]], engine: str) -> Counter[str]:
    return Counter(row[engine]["state"] for row in cells.values() if engine in row)


def _states(cells: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    found = {values["state"] for row in cells.values() for values in row.values()}
    return [*(state for state in FINE if state in found), *sorted(found - set(FINE))]
