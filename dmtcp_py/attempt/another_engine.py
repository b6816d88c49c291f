"""Whether and why a program is started once more with another engine, and what the user reads about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.attempt.outcome import MOST_LOST_S, Kind, is_crash, is_lost_at_start
from dmtcp_py.attempt.stdio import is_read_once
from dmtcp_py.engine.choice import what_to_try
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from dmtcp_py.attempt.context import AttemptContext
    from dmtcp_py.attempt.outcome import Outcome
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.engine.choice import Choice
    from dmtcp_py.messages import Report

_CANNOT = "cannot checkpoint it"
_SPARE_S = 30.0
"""How long the refusal of a program may take beyond `MOST_LOST_S`."""


class End(Struct, frozen=True, kw_only=True):
    """How the program ended, and the engine that ran it last."""

    outcome: Outcome
    choice: Choice | None = None
    ran_s: float = 0.0
    may_start_again: bool = False
    """Whether there is no generation, and nobody asked for a stop."""

    @property
    def engine_text(self) -> str | None:
        """Name and version of the engine."""
        return None if self.choice is None else self.choice.engine_text

    @property
    def is_lost_at_start(self) -> bool:
        """Whether that was so soon after its start, without a generation, that another engine may fare better."""
        return self.may_start_again and is_lost_at_start(self.outcome, self.ran_s)

    @property
    def is_unsuitable(self) -> bool:
        """Whether it was refused, or failed, for something that its engine cannot handle."""
        return self.may_start_again and (self.outcome.for_another or self.outcome.kind is Kind.UNSUITABLE)


def plan_after(end: End, plan: Plan, context: AttemptContext) -> Plan | None:
    """Return the plan to run the program of PLAN once more after END, with another engine; None if that is not ours."""
    if not _can_start_over(context):
        return None
    if end.is_unsuitable:
        may_be_none = end.outcome.kind is Kind.UNSUITABLE
        is_worth_it = end.outcome.for_another or plan.options.allow_unprotected
        is_early = end.ran_s <= MOST_LOST_S + _SPARE_S
        return plan.with_another_engine(_CANNOT, or_none=may_be_none) if is_worth_it and is_early else None
    # what an engine lost otherwise may have been taken from it by somebody: that is an error
    is_left_to_us = end.is_lost_at_start and is_crash(end.outcome)
    return plan.with_another_engine("lost it at its start") if is_left_to_us else None


def can_be_changed(context: AttemptContext) -> bool:
    """Return whether another engine could run the program from its beginning."""
    return _can_start_over(context) and context.plan.with_another_engine(_CANNOT) is not None


def _can_start_over(context: AttemptContext) -> bool:
    """Return whether the program can be given all of its input again."""
    return not is_read_once(context.plan.stdio) and (context.feed is None or context.feed.can_start_over)


def announce(end: End, plan: Plan, again: Plan, report: Report) -> None:
    """Say that the program of PLAN, which came to END, is run AGAIN, and record it."""
    if plan.choice is None or again.choice is None:
        return
    first, second = plan.choice.engine_text, again.choice.engine_text
    if not end.is_unsuitable:
        text = f"{at_start(end.outcome)}, which may be the fault of {first}: starting it once more with {second}"
        error = at_start(end.outcome)
    else:
        error = end.outcome.detail
        what = "failed" if end.outcome.kind is Kind.UNSUITABLE else "cannot be checkpointed"
        text = (
            f"the program {what} with {first} ({error}): starting it once more with {second}, "
            f"{format_duration(end.ran_s)} after its start"
        )
        if plan.stdio.stdout is None:
            text += "; what it has printed comes again"
    report.warn(text)
    plan.store.record("failed", what="engine", error=error, ran_s=round(end.ran_s, 3))


def advise(end: End, report: Report) -> None:
    """Say what the user can try after END, which may be the engine's fault."""
    if end.choice is not None and (hint := what_to_try(end.choice)):
        report.warn(f"{at_start(end.outcome)}, which may be the fault of {end.engine_text}: {hint}")


def at_start(outcome: Outcome) -> str:
    """Return what became of a program that was lost in its first second."""
    if outcome.kind is Kind.ENGINE_FAILED:
        return f"the program was lost within its first second ({outcome.detail})"
    return f"the program crashed with status {outcome.status} within its first second"
