"""What was compared at the last resume of a job, and what a generation recorded of its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.errors import NoSuchJobError
from dmtcp_py.state import record
from dmtcp_py.store.history import read_history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.store.layout import JobLayout


def state_of(layout: JobLayout, generation: int | None) -> dict[str, Any]:
    """Return both, with the newest generation unless GENERATION is given; raise NoSuchJobError if it is not there."""
    numbers = layout.generation_numbers()
    if generation is not None and generation not in numbers:
        raise NoSuchJobError(f"job {layout.name} has no generation {generation}", f"it has {numbers or 'none'}")
    number = generation or (numbers[-1] if numbers else None)
    recorded = {} if number is None else record.read(layout.generation(number))
    return {
        "job": layout.name,
        "last_resume": _last_resume(layout),
        "generation": number,
        "processes": recorded,
    }


def lines_of(found: dict[str, Any]) -> Iterator[str]:
    """Yield what `state_of` FOUND as people read it."""
    yield f"job {found['job']}: {_summary(found['last_resume'])}"
    yield from (f"  {text}" for text in (found["last_resume"] or {}).get("differences", ()))
    if found["generation"] is None:
        yield "  no generation"
        return
    yield f"generation {found['generation']}: {len(found['processes']) or 'no'} processes recorded"
    for pid, values in found["processes"].items():
        yield f"  process {pid}"
        yield from (f"    {name}: {value}" for name, value in values.items())


def _last_resume(layout: JobLayout) -> dict[str, Any] | None:
    resumed = [line for line in read_history(layout) if line.get("event") == "resumed"]
    if not resumed:
        return None
    facts = {name: resumed[-1].get(name) for name in ("time", "generation", "engine")}
    compared = resumed[-1].get("compared")
    return {**facts, **(compared if isinstance(compared, dict) else {})}


def _summary(resume: dict[str, Any] | None) -> str:
    if resume is None:
        return "not resumed yet"
    said = f"resumed generation {resume['generation']} with {resume['engine']}"
    if "values" not in resume:
        return f"{said}; nothing was compared"
    count = len(resume["differences"])
    result = f"{count} differ" if count else "all as they were"
    return f"{said}; {resume['values']} values of {resume['processes']} processes compared, {result}"
