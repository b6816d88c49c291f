"""What a campaign yields: one trial after another, each with its end, and the table of them."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class End(Enum):
    """How a trial ended."""

    SURVIVED = "survived"
    """As if nothing had happened: the result is right, or what is read is what was written."""
    DETECTED = "detected"
    """It was said what is wrong, and what was committed before is used, or nothing."""
    WRONG = "WRONG"


class Trial(NamedTuple):
    """One fault of a KIND."""

    kind: str
    end: End
    detail: str = ""
    """The seed, and what else finds it again."""


def wrong(trials: Iterable[Trial]) -> list[str]:
    """Return those of TRIALS that broke a promise, as lines."""
    return [f"{trial.kind}: {trial.detail}" for trial in trials if trial.end is End.WRONG]


def table(trials: Iterable[Trial]) -> str:
    """Return how many trials of each kind ended how."""
    counts = Counter((trial.kind, trial.end) for trial in trials)
    kinds = sorted({kind for kind, _ in counts})
    width = max(map(len, [*kinds, "fault"])) + 2
    lines = ["".join(["fault".ljust(width), f"{'tried':>8}", *(f"{end.value:>10}" for end in End)])]
    rows = [(kind, [counts[kind, end] for end in End]) for kind in kinds]
    rows.append(("all", [sum(counts[kind, end] for kind in kinds) for end in End]))
    lines += ["".join([kind.ljust(width), f"{sum(row):>8}", *(f"{count:>10}" for count in row)]) for kind, row in rows]
    return "\n".join(lines)
