"""A rehearsal from its request to its result: the trials under all engines, a comparison, the line to use."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from dmtcp_py.engine.choice import AUTO, choose, engine_named
from dmtcp_py.engine.executable import find_program
from dmtcp_py.engine.probe import NAMES
from dmtcp_py.errors import EngineError
from dmtcp_py.rehearsal.course import Budget
from dmtcp_py.rehearsal.findings import Rehearsal, Trial
from dmtcp_py.rehearsal.place import open_place
from dmtcp_py.rehearsal.reference import compare
from dmtcp_py.rehearsal.schedule import KEEP, Pace, most_bytes_on_disk
from dmtcp_py.rehearsal.trial import try_engine
from dmtcp_py.system.files import free_bytes
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.rehearsal.findings import Comparison
    from dmtcp_py.rehearsal.given_input import GivenInput
    from dmtcp_py.rehearsal.place import Place
    from dmtcp_py.rehearsal.request import Request

_OUTPUT = "out.txt"


def rehearse(request: Request, say: Callable[[str], None]) -> Rehearsal:
    """Rehearse a program and return the result; each step is reported to SAY.

    Raises ProgramNotFoundError, CannotExecuteError, EngineError if there is no engine, and UsageError if the working
    directory is too large to copy.
    """
    began, cwd = time.monotonic(), Path.cwd()
    program = find_program(request.command[0], cwd, os.environ.get("PATH"), request.command[1:])
    names, absent = _engines(request.engine)
    with open_place(request, cwd) as place:
        until = began + request.time_s
        found = _proven(place, _trials(place, names, until, say), program, Budget(until), say)
        trials = tuple(place.as_here(trial) for trial in found.trials)
        best = None if found.best is None else place.as_here(found.best)
        text, notes = place.text(sorted({name for trial in trials for name in trial.outside})), place.close()
        return Rehearsal(
            command=request.command,
            took_s=time.monotonic() - began,
            place=text,
            trials=trials,
            absent=absent,
            comparison=found.comparison,
            best=best,
            line=None if best is None else _line(request.command, best, program, place.given),
            notes=(*place.given.notes, *_space(best, request.directory), *notes),
        )


class _Proven(NamedTuple):
    """The trials after the comparison, and which of them is the BEST one; None if none works."""

    trials: list[Trial]
    best: Trial | None = None
    comparison: Comparison | None = None


def _proven(place: Place, trials: list[Trial], program: Path, budget: Budget, say: Callable[[str], None]) -> _Proven:
    """Return the first of TRIALS that works and of which a comparison, where there is one, says the same."""
    comparison = None
    for trial in _in_order(trials, program):
        if not place.request.compare and trial.doubt is None:
            return _Proven(trials, trial, comparison)
        comparison = compare(trial, place.stage_of(trial), place.make_stage, budget, say)
        if (problem := _problem(trial, comparison)) is None:
            return _Proven(trials, trial, comparison)
        trials = [replace(one, problem=problem) if one == trial else one for one in trials]
    return _Proven(trials, comparison=comparison)


def _engines(asked: str) -> tuple[list[str], dict[str, str]]:
    """Return the engines that are here, and why others are not. Raises EngineError if none is."""
    here, absent = [], {}
    for name in NAMES if asked == AUTO else (asked,):
        try:
            engine_named(name)
            here.append(name)
        except EngineError as error:
            absent[name] = str(error)
    if not here:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        raise EngineError(f"there is no engine here to rehearse with ({reasons})", "'dmtcp-ctl setup' installs one")
    return here, absent


def _trials(place: Place, names: list[str], until: float, say: Callable[[str], None]) -> list[Trial]:
    """Return the trial of each engine of NAMES; all have the same share of the time, as has a comparison."""
    trials: list[Trial] = []
    for number, name in enumerate(names):
        parts = len(names) - number + place.request.compare
        now = time.monotonic()
        budget = Budget(now + max(until - now, 0.0) / parts)
        trials.append(
            try_engine(
                name,
                make_stage=lambda name=name: place.make_stage(name),  # type: ignore[misc]
                budget=budget,
                pace=Pace(step_s=place.request.step_s, to_its_end=place.request.compare),
                say=lambda text, name=name: say(f"{name}: {text}"),  # type: ignore[misc]
            )
        )
        place.put_back(name)
        if trials[-1].ended_early:
            # whatever the engine
            break
    return trials


def _space(best: Trial | None, directory: Path) -> list[str]:
    """Return that there is not enough space for the images, if so."""
    needed, free = most_bytes_on_disk((best and best.size) or 0, KEEP), free_bytes(directory)
    if needed <= free:
        return []
    return [f"only {format_size(free)} are free in {directory}: free space there, or name another --dir"]


def _in_order(trials: list[Trial], program: Path) -> list[Trial]:
    """Return those of TRIALS that work: first that of the engine that dmtcp-run would choose."""
    working = [trial for trial in trials if trial.works]
    with suppress(EngineError):
        chosen = choose(program, AUTO).engine.name
        working.sort(key=lambda trial: trial.engine != chosen)
    return working


def _problem(trial: Trial, comparison: Comparison) -> str | None:
    """Return why TRIAL is not right after all, or cannot be said to be."""
    if comparison.problem is not None and trial.doubt is not None:
        return f"{trial.doubt}, and a run without dmtcp-run does not"
    if trial.doubt is None:
        return comparison.problem
    if comparison.skipped is not None:
        return f"{trial.doubt}; whether it does so without a crash is not known: {comparison.skipped}"
    is_other_end = trial.status is not None and comparison.status not in (None, trial.status)
    return f"{trial.doubt}; without a crash with {comparison.status}" if is_other_end else None


def _line(command: tuple[str, ...], best: Trial, program: Path, given: GivenInput) -> str:
    """Return the line for the batch script; it names the engine where ``auto`` would choose another one."""
    options = ["--stdout", _OUTPUT]
    try:
        is_chosen = choose(program, AUTO).engine.name == best.engine
    except EngineError:
        is_chosen = False
    options += [] if is_chosen else ["--engine", best.engine]
    return f"{shlex.join(['dmtcp-run', *options, *command])}{given.as_typed}"
