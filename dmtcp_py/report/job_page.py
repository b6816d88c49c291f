"""All about one job, on one screen. Reads no files; `now` comes from the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.report.events import clock, event_text
from dmtcp_py.report.status import GATED, SUSPENDED
from dmtcp_py.report.words import doing, mirror_in_words, since, until
from dmtcp_py.system.units import format_size, short_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dmtcp_py.report.step import Step

_MOST_EVENTS = 8


def page(row: dict[str, Any], history: Sequence[dict[str, Any]], now: datetime, step: Step | None = None) -> list[str]:
    """Return all about the job of ROW on one screen, with the last events of its HISTORY."""
    facts = {name: text for name, text in _facts(row, now).items() if text}
    width = max(map(len, facts))
    lines = [f"{row['job']}: {doing(row, step)}", *(f"  {name:{width}}  {text}" for name, text in facts.items())]
    recent = [(line, text) for line in history if (text := event_text(line))][-_MOST_EVENTS:]
    if recent:
        lines += ["", *(f"  {clock(line)}  {text}" for line, text in recent)]
    return lines


def _facts(row: dict[str, Any], now: datetime) -> dict[str, str | None]:
    generations, is_running = row["generations"] or [], row["phase"] in ("running", GATED, SUSPENDED)
    where = f"{row['host']}, pid {row['pid']}" if row["host"] and is_running else row["host"]
    return {
        "problem": row["problem"],
        "command": row["command"],
        "directory": row["cwd"],
        "engine": row["engine"],
        "where": where,
        "heard of": None if row["heartbeat_s"] is None else f"{short_duration(row['heartbeat_s'])} ago",
        "attempt": str(row["attempt"]) if row["attempt"] else None,
        "computed": _computed(row),
        "checkpoint": _last(row, now),
        "next one": f"in {until(row['next_checkpoint'], now)}" if row["next_checkpoint"] else None,
        "time left": until(row["ends"], now) if row["ends"] else None,
        "kept": f"{format_size(row['size'] or 0)} in generations {', '.join(map(str, generations))}"
        if generations
        else "no generation",
        **{
            f"mirror {number}" if number > 1 else "mirror": mirror_in_words(mirror, now)
            for number, mirror in enumerate(row["mirrors"] or (), 1)
        },
        "queue": row["batch"],
        "then": row["follows"],
        "to resume": _to_resume(row),
    }


def _computed(row: dict[str, Any]) -> str | None:
    total_s, saved_s = row["computed_s"], row["saved_s"]
    if total_s is None:
        return None
    unsaved = f", {short_duration(saved_s or 0)} of it saved" if row["phase"] in ("running", SUSPENDED, "dead") else ""
    return f"{short_duration(total_s)}{unsaved}"


def _last(row: dict[str, Any], now: datetime) -> str | None:
    ago_s = since(row["last_checkpoint"], now)
    if ago_s is None:
        return None
    pause = f", the program waited {row['pause_s']:.1f} s" if row["pause_s"] is not None else ""
    return f"{short_duration(ago_s)} ago ({row['last_reason']}{pause})"


def _to_resume(row: dict[str, Any]) -> str | None:
    if row["phase"] in ("running", SUSPENDED, GATED, "waiting", "finished", "damaged"):
        return None
    if not row["generations"]:
        return "there is nothing to resume: the same line of dmtcp-run starts the program again"
    first = "submit the batch script again, or " if row.get("scheduler_job") else ""
    return f"{first}the same line of dmtcp-run, in {row['cwd']}"
