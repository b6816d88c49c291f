"""How long a program has computed, and what its checkpoints were, as the history tells. PURE: values in, values out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.report.lives import newest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dmtcp_py.report.lives import Life


class Computed(Struct, frozen=True, kw_only=True):
    """What a lineage has computed, in seconds, and its newest generation."""

    saved_s: float | None = None
    """Until the newest generation; None if there is none, or an older dmtcp-py did not record it."""
    total_s: float | None = None
    """Until now, or until the end."""
    last_checkpoint: datetime | None = None
    pause_s: float | None = None
    reason: str | None = None
    """Why the newest generation was taken."""


def computed(lives: Sequence[Life]) -> Computed:
    """Return what was computed in LIVES, without the time of checkpoints.

    What was computed after the newest generation and lost with a crash does not count.
    """
    newest = newest_of(lives)
    saved_s = None if newest is None else newest.computed_s
    last = lives[-1] if lives else None
    is_whole = last is not None and (last.is_running or last.has_finished)
    return Computed(
        saved_s=saved_s,
        total_s=last.base_s + last.kept_s if last is not None and is_whole else saved_s,
        last_checkpoint=None if newest is None else newest.at,
        pause_s=None if newest is None else newest.pause_s,
        reason=None if newest is None else newest.reason,
    )
