"""The trial of a program under one engine, and what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dmtcp_py.rehearsal.course import Course, EndedEarly
from dmtcp_py.rehearsal.findings import Trial
from dmtcp_py.rehearsal.schedule import SHORTEST_S, Schedule
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.rehearsal.course import Budget
    from dmtcp_py.rehearsal.life import Stage
    from dmtcp_py.rehearsal.schedule import Pace


def try_engine(
    engine: str,
    *,
    make_stage: Callable[[], Stage],
    budget: Budget,
    pace: Pace,
    say: Callable[[str], None],
) -> Trial:
    """Return what comes of the program under ENGINE; MAKE_STAGE returns a new stage with each call.

    A program that ends before it could be killed is tried once more, with steps that its duration allows. SAY is told
    what is being done.
    """
    schedule, found = Schedule.within(budget.left_s, pace), Trial(engine=engine)
    stage = make_stage()
    try:
        return Course(stage=stage, schedule=schedule, budget=budget, say=say, found=found).run()
    except EndedEarly as ended:
        if ended.ran_s < SHORTEST_S:
            return _too_short(stage, ended, found)
        say(f"it ends after {format_duration(ended.ran_s)}: once more, in shorter steps")
        found = replace(found, expected_status=ended.status)
        schedule = Schedule.of_program(ended.ran_s, budget.left_s)
    stage = make_stage()
    try:
        return Course(stage=stage, schedule=schedule, budget=budget, say=say, found=found).run()
    except EndedEarly as ended:
        return _too_short(stage, ended, found)


def _too_short(stage: Stage, ended: EndedEarly, found: Trial) -> Trial:
    after = format_duration(ended.ran_s)
    if ended.status == 0:
        problem = f"it ended after {after}, too soon to be checkpointed, killed and resumed: give it more to do"
    else:
        words = stage.last_words
        problem = f"it ended with status {ended.status} after {after}" + (f": {words}" if words else "")
    return replace(found, problem=problem, ended_early=True)
