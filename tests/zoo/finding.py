"""What came of one program on one engine: a state, and what is to be said about it."""

from __future__ import annotations

from dataclasses import dataclass

WORKS, NEEDS_SETTING, REFUSED, NO_GENERATION, FAILS, STUCK, DIFFERS, WRONG, NOT_RUN = (
    "works",
    "works with a setting",
    "refused",
    "no generation",
    "fails",
    "stuck",
    "differs",
    "WRONG",
    "not run",
)
BROKEN = (FAILS, STUCK)
"""The states that another run may not show again."""


@dataclass(frozen=True)
class Finding:
    """What came of one program on one engine."""

    state: str
    detail: str = ""
    checkpoint_s: float | None = None
    resume_s: float | None = None
    image_bytes: int | None = None
    processes: int | None = None
    settings: tuple[str, ...] = ()
    """What it was launched with by dmtcp-run, and does not work without."""
