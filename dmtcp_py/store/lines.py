"""What one line of a job's history says. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

_BEGINS = ("started", "resumed")
_NO_ENDS = (*_BEGINS, "pruned", "follows")


def is_beginning(line: dict[str, Any]) -> bool:
    """Whether a line of the history says that a life began."""
    return line.get("event") in _BEGINS


def is_generation(line: dict[str, Any]) -> bool:
    """Whether a line of the history says that a generation was committed, and not that an attempt ended so."""
    return line.get("event") == "checkpointed" and isinstance(line.get("size"), int)


def is_end(line: dict[str, Any]) -> bool:
    """Whether a line of the history says how a life ended."""
    if line.get("event") == "failed":
        return line.get("what") in ("engine", "input")
    return line.get("event") not in _NO_ENDS and "status" in line


def time_of(line: dict[str, Any], name: str = "time") -> datetime | None:
    """Return the moment in field NAME of a line of the history; None if it is none."""
    try:
        return datetime.fromisoformat(str(line.get(name)).replace("Z", "+00:00"))
    except ValueError:
        return None


def number_of(line: dict[str, Any], name: str) -> float:
    """Return the number in field NAME of a line of the history; 0 if it is none."""
    value = line.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
