"""docs/programs.md, written from docs/zoo.json and the names of the programs, and from nothing else."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from kit.places import REPOSITORY
from kit.program_list import PROGRAMS
from zoo import finding, measure
from zoo.measure import Collection
from zoo.tables import escaped, table, title

if TYPE_CHECKING:
    from kit.programs import Program

ZOO = Collection("zoo", PROGRAMS, REPOSITORY / "docs" / "zoo.json")
PAGE = REPOSITORY / "docs" / "programs.md"
_HEAD = """\
# The table of programs

What can and cannot be checkpointed, as measured. [Will my program work?](will-it-work.md) says what to do about the
rest.

`make zoo` wrote this page. It runs each program once alone, and once with `dmtcp-run` and an engine. In the second run
it kills everything with SIGKILL, two times, each time after a checkpoint and some further progress, and types the same
line again. Then it compares the exit status, the output and all files, byte for byte. The programs are in `examples/`
and `tests/programs/`, their command lines in `tests/kit/program_list.py`.

| cell | result |
|---|---|
| works | everything was as in the uninterrupted run |
| works with X | the same, but not without the setting X, which dmtcp-run applies automatically |
| refused | dmtcp-run exited with 125 before there was anything to lose, and printed the reason |
| no generation | the program ran to its correct end, with a warning, but no checkpoint was taken |
| fails | an error or another exit status. A wrong result with the correct status would be called WRONG |
| stuck | no end within the time allowed |
| differs | the program behaves differently under the engine, interrupted or not |
| not run | the program was not installed, or not measured yet |

"No privileges" is CRIU as an ordinary user has it, in a [user namespace](criu.md#without-privileges).

The engine was chosen by name (`--engine dmtcp`, `--engine criu`). By default, dmtcp-run uses CRIU, where it works, for
executables that DMTCP cannot handle. The footnotes quote the messages of the measured version.
"""


def write() -> None:
    """Write the page."""
    PAGE.write_text(text(measure.load(ZOO)))


def text(results: dict[str, Any]) -> str:
    """Return the page for RESULTS."""
    notes: dict[str, int] = {}
    parts = [_HEAD]
    engines = results["engines"]
    for group, programs in groupby(PROGRAMS, lambda program: program.group):
        rows = [_row(program, results, notes) for program in programs if program.name in results["cells"]]
        if rows:
            parts.append(f"## {group}\n\n{table(['program', *map(title, engines)], rows)}")
    if notes:
        parts.append("\n".join(f"[^{number}]: {escaped(note)}" for note, number in notes.items()) + "\n")
    parts += [_costs(results), _dates(results)]
    return "\n".join(parts)


def _row(program: Program, results: dict[str, Any], notes: dict[str, int]) -> list[str]:
    name = program.name + (_reference(program.note, notes) if program.note else "")
    row = results["cells"][program.name]
    return [name, *(_cell(row.get(engine), notes) for engine in results["engines"])]


def _cell(values: dict[str, Any] | None, notes: dict[str, int]) -> str:
    if values is None:
        return finding.NOT_RUN
    settings = " and ".join(f"`{setting}`" for setting in values.get("settings", ()))
    state = f"works with {settings}" if settings else values["state"]
    if state in (*finding.BROKEN, finding.DIFFERS, finding.WRONG):
        state = f"**{state}**"
    return state + (_reference(values["detail"], notes) if values.get("detail") else "")


def _reference(note: str, notes: dict[str, int]) -> str:
    return f" [^{notes.setdefault(note, len(notes) + 1)}]"


def _costs(results: dict[str, Any]) -> str:
    rows = []
    for program in PROGRAMS:
        row = results["cells"].get(program.name, {})
        costs = [_cost(row.get(engine, {})) for engine in results["engines"]]
        if any(costs):
            rows.append([program.name, *costs])
    about = "Seconds for a checkpoint / seconds until the program runs again / megabytes of images, on two busy cores"
    return f"## Cost\n\n{about}.\n\n{table(['program', *map(title, results['engines'])], rows)}"


def _cost(values: dict[str, Any]) -> str:
    if not values.get("image_bytes") or not values["state"].startswith(finding.WORKS):
        return ""
    resume = f"{values['resume_s']:.1f}" if "resume_s" in values else "?"
    megabytes = values["image_bytes"] / 1e6
    return f"{values['checkpoint_s']:.1f} / {resume} / {megabytes:.{0 if megabytes >= 10 else 1}f}"


def _dates(results: dict[str, Any]) -> str:
    cells = [values for row in results["cells"].values() for values in row.values()]
    days = sorted({values["date"] for values in cells})
    kernels = sorted({values["kernel"] for values in cells})
    when = days[0] if days[:1] == days[-1:] else f"{days[0]} to {days[-1]}"
    return f"Measured {when} on Linux {', '.join(kernels)}. `make zoo` measures again; `zoo.json` has the values.\n"
