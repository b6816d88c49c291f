"""The events of a job's history, in words. Reads no files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.report.words import signal_name
from dmtcp_py.store.lines import is_end, is_generation, time_of
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from datetime import datetime

    from dmtcp_py.report.lives import Life


def event_text(line: dict[str, Any]) -> str | None:
    """Return an event of the history in words; None for one that says nothing to a person."""
    event, generation = line.get("event"), line.get("generation")
    if is_generation(line):
        return f"generation {generation} ({line.get('reason')}, {format_size(line['size'])})"
    texts = {
        "started": f"started on {line.get('host')} with {line.get('engine')}",
        "resumed": f"resumed generation {generation} on {line.get('host')}",
        "failed": f"{line.get('what')} failed: {line.get('error')}",
        "follows": f"then: {line.get('what')}",
        "killed": f"attempt {line.get('attempt')} was killed; last heard of at {clock(line, 'last_seen')}",
        "pruned": None,
        "mirrored": None,
        "sealed": None,
    }
    return _end(line) if is_end(line) and event != "failed" else texts.get(str(event), str(event).replace("-", " "))


def _end(line: dict[str, Any]) -> str:
    event, detail, status = line.get("event"), line.get("detail"), line.get("status")
    if event == "finished":
        return f"finished with status {status}"
    if event == "checkpointed":
        return "checkpointed and stopped" + (f" ({line['stopped_for']})" if line.get("stopped_for") else "")
    if event == "signalled" and not detail and isinstance(status, int):
        return f"killed by {signal_name(status - 128)}"
    text = str(event).replace("-", " ")
    return f"{text}: {detail}" if detail else text


def clock(line: dict[str, Any], name: str = "time") -> str:
    """Return the moment in field NAME of LINE as a clock here shows it."""
    moment = time_of(line, name)
    return "?" * 14 if moment is None else local(moment)


def local(moment: datetime) -> str:
    """Return MOMENT as a clock here shows it, without the year."""
    return f"{moment.astimezone():%m-%d %H:%M:%S}"


def end_text(life: Life) -> str:
    """Return how a life ended, in words."""
    line = life.ended_by
    last = life.newest
    if line is None and last is not None and last.program_stopped:
        return f"checkpointed and stopped ({last.reason})"
    if line is None:
        return "runs" if life.is_running else "killed (no end was recorded)"
    return "killed" if line.get("event") == "killed" else str(event_text(line))
