"""What jobs are doing, in words and in a table of 80 columns. Reads no files; `now` comes from the caller."""

from __future__ import annotations

import signal
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dmtcp_py.system.units import format_duration, format_size, short_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.report.step import Step

_GAP = "  "
_HEADER = ("JOB", "IS", "COMPUTED", "LAST", "NEXT", "LEFT", "SIZE")
_GENERATIONS_HEADER = ("JOB", "GEN", "CREATED", "REASON", "SIZE", "PAUSE", "ENGINE")
_LEAST_NAME = 12
_DASH = "-"
_WORDS = {
    "waiting": "waiting in queue",
    "suspended": "suspended; fg goes on",
    "dead": "killed",
    "checkpointed": "stopped",
    "stopped": "stopped at once",
    "held": "held by its gate",
    "unsuitable engine": "engine unsuitable",
}


def doing(row: dict[str, Any], step: Step | None = None) -> str:
    """Return in words what the job of ROW is doing, or how it ended; STEP is what is under way."""
    phase, status = row["phase"], row["status"]
    if phase == "running" and step is not None:
        return str(step)
    if phase == "finished" and status:
        return f"finished with {status}"
    if phase == "signalled" and status:
        return f"killed by {signal_name(status - 128)}"
    if phase == "running" and any(mirror["problem"] for mirror in row["mirrors"] or ()):
        return "running, mirror down"
    return _WORDS.get(phase) or str(phase)


def mirror_in_words(mirror: dict[str, Any], now: datetime) -> str:
    """Return how far a mirror is: what it has, what is being copied, and what is the matter with it."""
    numbers = mirror["generations"]
    has = (
        f"has generation{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}" if numbers else "has none yet"
    )
    texts = [f"{mirror['url']} {has}"]
    if mirror["copying"] is not None:
        share = "" if mirror["share"] is None else f" {mirror['share']:.0%}"
        texts.append(f"copying {mirror['copying']}{share}")
    if mirror["problem"]:
        ago_s = since(mirror["failing_since"], now)
        texts.append(f"failing{'' if ago_s is None else f' for {short_duration(ago_s)}'}: {mirror['problem']}")
    return "; ".join(texts)


def cells(row: dict[str, Any], now: datetime, step: Step | None = None) -> list[str]:
    """Return the cells of ROW, as in the header of `table`."""
    last = since(row["last_checkpoint"], now)
    return [
        row["job"],
        doing(row, step),
        _DASH if row["computed_s"] is None else short_duration(row["computed_s"]),
        _DASH if last is None else f"{short_duration(last)} ago",
        until(row["next_checkpoint"], now),
        until(row["ends"], now),
        format_size(row["size"]) if row["size"] else _DASH,
    ]


def table(rows: Sequence[Sequence[str]], columns: int | None) -> list[str]:
    """Return ROWS of cells under a header, in lines of COLUMNS; only the names of jobs are shortened for that."""
    return _in_columns([_HEADER, *rows], columns)


def table_of_generations(rows: Sequence[dict[str, Any]], columns: int | None) -> list[str]:
    """Return ROWS of generations in lines of COLUMNS, as `table` does; what is damaged follows."""
    damaged = [f"generation {row['generation']} of {row['job']}: {row['problem']}" for row in rows if row["problem"]]
    return [*_in_columns([_GENERATIONS_HEADER, *map(_generation_cells, rows)], columns), *damaged]


def _generation_cells(row: dict[str, Any]) -> Sequence[str]:
    name = (row["job"], str(row["generation"]))
    if row["problem"]:
        return (*name, _DASH, "damaged", _DASH, _DASH, _DASH)
    created = f"{datetime.fromisoformat(row['created']).astimezone():%m-%d %H:%M:%S}"
    return (
        *name,
        created,
        row["reason"],
        format_size(row["size"]),
        format_duration(row["checkpoint_s"]),
        row["engine"],
    )


def _in_columns(lines: Sequence[Sequence[str]], columns: int | None) -> list[str]:
    widths = [max(len(line[number]) for line in lines) for number in range(len(lines[0]))]
    if columns is not None:
        too_long = sum(widths) + len(_GAP) * (len(widths) - 1) - columns
        widths[0] = max(widths[0] - max(too_long, 0), min(widths[0], _LEAST_NAME))
    return [_GAP.join(_fit(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def signal_name(number: int) -> str:
    """Return the name of signal NUMBER."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def since(moment: str | None, now: datetime) -> float | None:
    """Return how many seconds before NOW MOMENT was; None where there is none."""
    return None if moment is None else (now - datetime.fromisoformat(moment)).total_seconds()


def until(moment: str | None, now: datetime) -> str:
    """Return in how long MOMENT comes, or a dash where there is none."""
    ago_s = since(moment, now)
    return _DASH if ago_s is None else "now" if ago_s >= 0 else short_duration(-ago_s)
