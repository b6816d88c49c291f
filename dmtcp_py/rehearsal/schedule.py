"""When the steps of a trial are taken, and what a checkpoint costs over a day. PURE: values in, values out."""

from __future__ import annotations

from msgspec import Struct

from dmtcp_py.attempt.interval import auto_s

KEEP = 2
"""The default of --keep."""
DAY_S = 86400.0
SHORTEST_S = 1.0
"""A program that ends sooner is over before it can be checkpointed twice and killed."""


class Pace(Struct, frozen=True):
    """The time between two steps, None for a share of all, and whether the program should come to its end."""

    step_s: float | None = None
    to_its_end: bool = False


class Schedule(Struct, frozen=True, kw_only=True):
    """Seconds of computing: until the first checkpoint, from there to the second, to the kill, and after the resume."""

    first_s: float
    second_s: float
    kill_s: float
    after_s: float

    @classmethod
    def within(cls, budget_s: float, pace: Pace) -> Schedule:
        """Return the schedule for a trial of BUDGET_S: about half of it is left for what the engine needs."""
        step_s = budget_s / 10 if pace.step_s is None else pace.step_s
        after_s = max(budget_s / 4, step_s) if pace.to_its_end else step_s
        return cls(first_s=step_s, second_s=step_s, kill_s=step_s / 2, after_s=after_s)

    @classmethod
    def of_program(cls, ran_s: float, budget_s: float) -> Schedule:
        """Return the schedule for a program that ends after RAN_S: so that it is killed before, and ends once more."""
        return cls(first_s=ran_s * 0.15, second_s=ran_s * 0.1, kill_s=ran_s * 0.05, after_s=budget_s)


class Upkeep(Struct, frozen=True):
    """What checkpoints cost over a day at the interval that ``auto`` takes."""

    interval_s: float
    count: int
    share: float


def upkeep(pause_s: float) -> Upkeep:
    """Return what checkpoints of PAUSE_S each cost over a day: their number times PAUSE_S, divided by a day."""
    interval_s = auto_s(pause_s)
    count = int(DAY_S // (interval_s + pause_s))
    return Upkeep(interval_s=interval_s, count=count, share=count * pause_s / DAY_S)


def most_bytes_on_disk(image_bytes: int, keep: int) -> int:
    """Return what KEEP generations of this size need: one more is written before the oldest is removed."""
    return image_bytes * (keep + 1)
