"""How long a program has computed, and what its checkpoints were, as the history tells. PURE: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_BEGINS = ("started", "resumed")


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What a lineage has computed, in seconds, and its newest generation."""

    saved_s: float | None = None
    """Until the newest generation; None if there is none, or an older dmtcp-py did not record it."""
    total_s: float | None = None
    """Until now, or until the end."""
    last_checkpoint: datetime | None = None
    pause_s: float | None = None
    reason: str | None = None
    """Why the newest generation was taken."""
    sizes: tuple[tuple[int, int], ...] = ()
    """The size of each generation that was committed, with its number."""


def computed(history: Sequence[dict[str, Any]], lineage: int, now: datetime | None) -> Computed:
    """Return what LINEAGE has computed; NOW is None unless its program runs.

    What was computed after the newest generation and lost with a crash does not count.
    """
    at: dict[int, float] = {}
    base, began, ended, newest = 0.0, None, None, None
    sizes = []
    for line in history:
        event = line.get("event")
        is_generation = event == "checkpointed" and isinstance(line.get("size"), int)
        if is_generation:
            sizes.append((line["generation"], line["size"]))
        if line.get("lineage") != lineage:
            continue
        if event in _BEGINS:
            base = at.get(line.get("generation", 0), 0.0) if event == "resumed" else 0.0
            began, ended = _time(line), None
        elif is_generation:
            newest = line
            at[line["generation"]] = base + float(line.get("ran_s") or 0.0)
        elif event == "finished":
            ended = _time(line)
    saved_s = None if newest is None else at[newest["generation"]]
    until = ended or now
    total_s = base + (until - began).total_seconds() if until is not None and began is not None else saved_s
    return Computed(
        saved_s=saved_s,
        total_s=total_s,
        last_checkpoint=None if newest is None else _time(newest),
        pause_s=None if newest is None else newest.get("checkpoint_s"),
        reason=None if newest is None else newest.get("reason"),
        sizes=tuple(sizes),
    )


def _time(line: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(line.get("time")).replace("Z", "+00:00"))
    except ValueError:
        return None
