"""Whether all is well with a job, and if not, what is the matter and what to type. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.fit import Finding, ok, problem, warning
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.report.lives import newest_of
from dmtcp_py.report.status import GATED, SUSPENDED
from dmtcp_py.report.words import doing, since, until
from dmtcp_py.system.units import short_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from dmtcp_py.report.lives import Life
    from dmtcp_py.report.status import Status

MOST_OVERHEAD = 0.1
"""A larger share of the time than this is more than checkpoints are worth, as a rule."""
_LONG_ENOUGH_S = 600.0
"""The share says little about a program that ran for less."""
_CANNOT_GO_ON = ("refused", "unsuitable engine", "engine failed", "out of time")
_LATE_S = 300.0
"""A checkpoint that is due for longer is not merely being written."""
_WAITS = ("waiting", GATED, SUSPENDED, Kind.HELD.value)
_JOB = "job"


def judge(found: Status, now: datetime, *, overhead: float, ran_s: float) -> Iterator[Finding]:
    """Yield what is to be said of the job with the status FOUND: of the whole, then of its checkpoints and their cost.

    OVERHEAD is the share of RAN_S that went into checkpoints.
    """
    yield _altogether(found.row, found.lives, now)
    yield from _checkpoints(found.lives)
    if overhead > MOST_OVERHEAD and ran_s > _LONG_ENOUGH_S:
        hint = "set a longer interval, such as -i 1h, or write the images to a faster disk (--stage-local)"
        yield warning("checkpoints", f"checkpoints take {overhead:.0%} of the time", hint)


def _altogether(row: dict[str, Any], lives: Sequence[Life], now: datetime) -> Finding:
    phase, says = row["phase"], doing(row)
    if phase == "damaged":
        return problem(_JOB, f"the records of the job cannot be read: {row['problem']}")
    if phase == "finished":
        text = f"the program exited with status {row['status']}"
        return warning(_JOB, text, "its output says why") if row["status"] else ok(_JOB, text)
    if phase == "running":
        return _running(row, now)
    if phase in _WAITS:
        return ok(_JOB, f"{says}: {row['batch']}" if row["batch"] else says)
    again = f"run the same line again in {row['cwd']}"
    if phase in _CANNOT_GO_ON:
        detail = str((lives[-1].ended_by or {}).get("detail") or "") if lives else ""
        return problem(_JOB, f"{says}: {detail}" if detail else says, again)
    if phase == "checkpointed":
        return ok(_JOB, "stopped, with everything saved", f"to resume, {again}")
    return warning(_JOB, f"not running: {says}{_what_is_lost(lives)}", f"to resume, {again}")


def _running(row: dict[str, Any], now: datetime) -> Finding:
    last_s, next_s = since(row["last_checkpoint"], now), since(row["next_checkpoint"], now)
    last = "nothing is saved yet" if last_s is None else f"saved {short_duration(last_s)} ago"
    if next_s is not None and next_s > _LATE_S:
        return warning(_JOB, f"running, {last}; a checkpoint has been due for {short_duration(next_s)}")
    coming = "" if next_s is None else f", the next checkpoint comes in {until(row['next_checkpoint'], now)}"
    return ok(_JOB, f"running, {last}{coming}")


def _what_is_lost(lives: Sequence[Life]) -> str:
    newest = newest_of(lives)
    if newest is None:
        return "; there is no generation, so it will start at the beginning"
    lost_s = lives[-1].lost_s
    if not lost_s:
        return ""
    return f"; {short_duration(lost_s)} of computing after generation {newest.generation} will be repeated"


def _checkpoints(lives: Sequence[Life]) -> Iterator[Finding]:
    """Yield that the last checkpoints failed."""
    failed = lives[-1].failed if lives else ()
    if failed:
        which = "the last checkpoint" if len(failed) == 1 else f"the last {len(failed)} checkpoints"
        yield warning("checkpoints", f"{which} failed: {failed[-1].get('error')}")
