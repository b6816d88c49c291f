"""What becomes of each kind of state under an engine: one cell of the state page for each, kept in docs/state.json."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from kit.places import REPOSITORY
from random_programs.campaign import Campaign, measure_kinds
from random_programs.kinds import BY_NAME, KINDS
from random_programs.life import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from random_programs.kind import Kind

RESULTS = REPOSITORY / "docs" / "state.json"
KEPT, PUT_BACK, AS_IT_WAS, REFUSED, HARMLESS, FAILS = (
    "kept",
    "put back",
    "as it was",
    "refused",
    "harmless",
    "fails",
)
_RANKS = (Outcome.RIGHT, Outcome.REFUSED, Outcome.LATE, Outcome.STUCK, Outcome.WRONG, Outcome.BROKEN)
"""From the best to the worst: what counts of a kind that was measured in C and in Python."""
_REASON = re.compile(r"(?:process \d+ \([^)]*\) )?(.*?)(?:; |$)")
_NOT_BY_NAME = ("died during the checkpoint", "criu dump failed")
"""How a checkpoint fails that was not refused before it began."""
_ROUTINE = ("checkpoint failed: ", "no checkpoint: ", "stopped, because it cannot be checkpointed: ")


@dataclass(frozen=True)
class Cell:
    """What becomes of a KIND under an ENGINE: its STATE, and the DETAIL that belongs to it."""

    engine: str
    kind: str
    state: str
    detail: str = ""


def measure(campaign: Campaign, names: Sequence[str], jobs: int, *, is_quick: bool) -> Iterator[Cell]:
    """Run each kind of steps under an engine, and yield what came of it; of a kind that has several, the last counts.

    What is right also without what is ours the engine keeps; to be QUICK, that is not looked at.
    """
    found: dict[str, Result] = {}
    for kind in _worst(measure_kinds(campaign, names, jobs), found):
        yield Cell(str(campaign.engine), kind, *judge(BY_NAME[kind], found[kind]))
    right = [kind for kind, result in found.items() if result.outcome is Outcome.RIGHT]
    if is_quick or not right:
        return
    bare: dict[str, Result] = {}
    for kind in _worst(measure_kinds(replace(campaign, is_bare=True), right, jobs, exactly=True), bare):
        yield Cell(str(campaign.engine), kind, KEPT if bare[kind].outcome is Outcome.RIGHT else PUT_BACK)


def _worst(results: Iterator[tuple[Any, Result]], found: dict[str, Result]) -> Iterator[str]:
    """Put the worst of RESULTS of each kind into FOUND, and yield the kind."""
    for one, result in results:
        known = found.get(one.kind, result)
        found[one.kind] = max(known, result, key=lambda each: _RANKS.index(each.outcome))
        yield one.kind


def judge(kind: Kind, result: Result) -> tuple[str, str]:
    """Return the state of a KIND, and its detail."""
    if result.outcome is Outcome.RIGHT:
        return AS_IT_WAS, ""
    if any(words in result.detail for words in _NOT_BY_NAME):
        return FAILS, _reason(result.detail)
    if result.outcome is Outcome.REFUSED:
        return REFUSED, _reason(result.detail)
    if kind.harmless and kind.name in result.differing:
        return HARMLESS, kind.harmless
    return result.outcome.value, without_numbers(result.detail)


def _reason(detail: str) -> str:
    """Return why a checkpoint was refused, without the process and the advice."""
    begins = [detail.find(word) for word in _ROUTINE if word in detail]
    detail = detail[min(begins, default=0) :]
    # the same may be said twice, the second time cut short
    while word := next((word for word in _ROUTINE if detail.startswith(word)), ""):
        detail = detail.removeprefix(word)
    found = _REASON.match(detail)
    return without_numbers(found[1] if found else detail)


def without_numbers(text: str) -> str:
    """Return TEXT without folders and long numbers, which are others in each run."""
    return re.sub(r"\b\d{5,}\b", "N", re.sub(r"/\S*/", "", text))


def load() -> dict[str, Any]:
    """Return what was measured until now."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"engines": [], "cells": {}}
    return found


def keep(cell: Cell) -> None:
    """Put CELL into the results beside the others, which may be measured now; kinds that there are no more go."""
    folder = os.open(RESULTS.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        RESULTS.write_text(json.dumps(_with(load(), cell), indent=1, ensure_ascii=False) + "\n")
    finally:
        os.close(folder)


def _with(results: dict[str, Any], cell: Cell) -> dict[str, Any]:
    kernel = ".".join(platform.release().split(".")[:2])
    today = datetime.now(timezone.utc).date().isoformat()
    values = {"state": cell.state, "detail": cell.detail, "date": today, "kernel": kernel}
    results["cells"].setdefault(cell.kind, {})[cell.engine] = {key: value for key, value in values.items() if value}
    names = {engine for row in results["cells"].values() for engine in row}
    results["engines"] = sorted(names, key=lambda engine: (not engine.startswith("dmtcp"), engine))
    results["cells"] = {
        kind.name: dict(sorted(results["cells"][kind.name].items())) for kind in KINDS if kind.name in results["cells"]
    }
    return results
