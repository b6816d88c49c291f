"""Which steps of a program that goes wrong matter: delta debugging on their kinds, then on them, in bounded time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from random_programs.generate import Step

    Steps = tuple[Step, ...]
Item = TypeVar("Item")


@dataclass
class Budget:
    """How long may be tried."""

    seconds: float

    def __post_init__(self) -> None:
        """Begin now."""
        self._until = time.monotonic() + self.seconds

    @property
    def is_spent(self) -> bool:
        """Whether no more is tried."""
        return time.monotonic() > self._until


def reduce(steps: Steps, suspects: Sequence[Steps], is_wrong: Callable[[Steps], bool], budget: Budget) -> Steps | None:
    """Return the fewest of STEPS found that are still wrong, None if they are not wrong when tried once more.

    SUSPECTS are parts of them to begin with, the smallest first.
    """
    start = next((part for part in (*suspects, steps) if not budget.is_spent and is_wrong(part)), None)
    if start is None:
        return None

    def of_kinds(kinds: tuple[str, ...]) -> Steps:
        return tuple(step for step in start if step.kind in kinds)

    kinds = tuple(dict.fromkeys(step.kind for step in start))
    kinds = _without_needless(kinds, lambda some: is_wrong(of_kinds(some)), budget)
    return _without_needless(of_kinds(kinds), is_wrong, budget)


def _without_needless(
    steps: tuple[Item, ...], is_wrong: Callable[[tuple[Item, ...]], bool], budget: Budget
) -> tuple[Item, ...]:
    parts = 2
    while len(steps) > 1 and not budget.is_spent:
        size = -(-len(steps) // parts)
        less = (steps[:start] + steps[start + size :] for start in range(0, len(steps), size))
        smaller = next((some for some in less if not budget.is_spent and is_wrong(some)), None)
        if smaller is not None:
            steps, parts = smaller, max(parts - 1, 2)
        elif parts >= len(steps):
            break
        else:
            parts = min(parts * 2, len(steps))
    return steps
