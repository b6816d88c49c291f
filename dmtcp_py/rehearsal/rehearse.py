"""A rehearsal from its request to its result: the trials under all engines, a comparison, the line to use."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.choice import AUTO, choose, engine_named
from dmtcp_py.engine.executable import find_program
from dmtcp_py.engine.probe import NAMES
from dmtcp_py.errors import EngineError
from dmtcp_py.rehearsal.course import Budget
from dmtcp_py.rehearsal.findings import Rehearsal, Trial
from dmtcp_py.rehearsal.place import open_place
from dmtcp_py.rehearsal.reference import compare, is_needed
from dmtcp_py.rehearsal.trial import try_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.rehearsal.findings import Comparison
    from dmtcp_py.rehearsal.given_input import GivenInput
    from dmtcp_py.rehearsal.place import Place
    from dmtcp_py.rehearsal.request import Request

_OUTPUT = "out.txt"


def rehearse(request: Request, say: Callable[[str], None]) -> Rehearsal:
    """Rehearse a program and return what came of it; SAY is told what is being done.

    Raises ProgramNotFoundError, CannotExecuteError, EngineError if there is no engine, and UsageError if the working
    directory is too large to copy.
    """
    began, cwd = time.monotonic(), Path.cwd()
    program = find_program(request.command[0], cwd, os.environ.get("PATH"))
    names, absent = _engines(request.engine)
    with open_place(request, cwd) as place:
        until = began + request.time_s
        trials = _trials(place, names, until, say, shares=request.compare)
        best = _best(trials, program)
        comparison = None
        if best is not None and (request.compare or is_needed(best)):
            comparison = compare(best, place.stage_of(best), place.make_stage, Budget(until), say)
            if (problem := _problem(best, comparison)) is not None:
                trials = [replace(one, problem=problem) if one == best else one for one in trials]
                best = None
        outside = sorted({name for trial in trials for name in trial.outside})
        text, notes = place.text(outside), place.close()
        return Rehearsal(
            command=request.command,
            took_s=time.monotonic() - began,
            place=text,
            trials=tuple(trials),
            absent=absent,
            comparison=comparison,
            best=best,
            line=None if best is None else _line(request.command, best, program, place.given),
            notes=(*place.given.notes, *notes),
        )


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


def _trials(place: Place, names: list[str], until: float, say: Callable[[str], None], *, shares: bool) -> list[Trial]:
    """Return the trial of each engine of NAMES; all have the same share of the time, as has a comparison."""
    trials: list[Trial] = []
    for number, name in enumerate(names):
        parts = len(names) - number + shares
        now = time.monotonic()
        budget = Budget(now + max(until - now, 0.0) / parts)
        trials.append(
            try_engine(
                name,
                make_stage=lambda name=name: place.make_stage(name),  # type: ignore[misc]
                budget=budget,
                say=lambda text, name=name: say(f"{name}: {text}"),  # type: ignore[misc]
            )
        )
        place.put_back(name)
        if trials[-1].ended_early:
            # whatever the engine
            break
    return trials


def _best(trials: list[Trial], program: Path) -> Trial | None:
    """Return the trial of the engine that dmtcp-run would choose if it works, otherwise of another one that does."""
    with suppress(EngineError):
        chosen = choose(program, AUTO).engine.name
        trials = sorted(trials, key=lambda trial: trial.engine != chosen)
    return next((trial for trial in trials if trial.works), None)


def _problem(trial: Trial, comparison: Comparison) -> str | None:
    """Return why TRIAL is not right after all, or cannot be said to be."""
    if comparison.skipped is None or trial.difference is None:
        return comparison.problem
    return (
        f"after the resume it printed something else than before the crash ({trial.difference.text}), and it was not "
        f"found out whether each run does: {comparison.skipped}"
    )


def _line(command: tuple[str, ...], best: Trial, program: Path, given: GivenInput) -> str:
    """Return the line for the batch script; it names the engine where ``auto`` would choose another one."""
    options = ["--stdout", _OUTPUT]
    try:
        is_chosen = choose(program, AUTO).engine.name == best.engine
    except EngineError:
        is_chosen = False
    options += [] if is_chosen else ["--engine", best.engine]
    return f"{shlex.join(['dmtcp-run', *options, *command])}{given.as_typed}"
