"""How often to checkpoint, and how long before a time limit. PURE: values in, values out.

``cost_s`` is d, the seconds that one checkpoint takes from computing; ``mtti_s`` is M, the mean seconds between
interruptions; the result is the computing time between two checkpoints, in seconds.
"""

from __future__ import annotations

import math

from msgspec import Struct

FIRST_S = 60.0
"""When the first checkpoint is taken, from which the cost of one is known."""
SHORTEST_S = 60.0
LONGEST_S = 3600.0
ASSUMED_MTTI_S = 86400.0
"""One interruption a day: the assumption for a machine about which nothing is known."""
MOST_OVERHEAD = 0.02
"""The default of ``--max-overhead``: the share of the time that checkpoints take at most, where ``auto`` decides."""
LEAST_LEAD_S = 20.0
"""The least time kept free before a time limit besides the checkpoints, for the scheduler and for slow disks."""
MOST_SPARE_S = 120.0
_SPARE_SHARE = 0.02
_CHECKPOINTS_IN_LEAD = 3
_GUESS_S = 5.0
_GUESS_BYTES_PER_S = 50e6
_FIRST_SHARE = 0.25
_WORTH_IT = 2.0


class Auto(Struct, frozen=True):
    """What ``auto`` goes by, besides the cost of a checkpoint."""

    mtti_s: float = ASSUMED_MTTI_S
    most_overhead: float = MOST_OVERHEAD


def young_s(cost_s: float, mtti_s: float) -> float:
    """Return Young's interval, √(2dM) (Communications of the ACM 17, 1974)."""
    return math.sqrt(2 * cost_s * mtti_s)


def daly_s(cost_s: float, mtti_s: float) -> float:
    """Return Daly's interval (Future Generation Computer Systems 22, 2006, equation 37)."""
    if cost_s >= 2 * mtti_s:
        return mtti_s
    ratio = cost_s / (2 * mtti_s)
    return young_s(cost_s, mtti_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost_s


def mtti_s(ran_s: float, interruptions: int) -> float:
    """Return the mean time between interruptions of a job, in seconds: it ran for RAN_S, with so many INTERRUPTIONS.

    One interruption a day is assumed and counts as much as one that was seen: it is the mean of a gamma distribution
    of the rate, learned from events that come at random (Gelman and others, Bayesian Data Analysis, section 2.6).
    """
    return (ASSUMED_MTTI_S + ran_s) / (1 + interruptions)


def next_s(asked_s: float | None, cost_s: float | None, limit_s: float | None, auto: Auto) -> float | None:
    """Return the time to the next checkpoint: ASKED_S, None for never, or what ``auto`` means if that is negative.

    COST_S is what the last checkpoint took, LIMIT_S how long the attempt may run; None if there is none.
    """
    if asked_s is None or asked_s >= 0:
        return asked_s
    return first_s(limit_s) if cost_s is None else auto_s(cost_s, auto)


def auto_s(cost_s: float | None, auto: Auto = Auto()) -> float:  # noqa: B008 - a frozen value
    """Return the interval that ``auto`` means: Daly's, between a minute and an hour; COST_S is None if not measured.

    It is longer where checkpoints would take more than the largest share of the time.
    """
    if cost_s is None:
        return FIRST_S
    shortest_s = cost_s / auto.most_overhead - cost_s
    return max(min(max(daly_s(cost_s, auto.mtti_s), SHORTEST_S), LONGEST_S), shortest_s)


def first_s(left_s: float | None) -> float:
    """Return when ``auto`` takes the first checkpoint, which measures the cost; LEFT_S is the time to the limit."""
    return FIRST_S if left_s is None else min(FIRST_S, max(left_s, 0.0) * _FIRST_SHARE)


def guessed_cost_s(resident_bytes: int) -> float:
    """Return a safe guess of what a checkpoint of a program of this size costs, for as long as none was measured."""
    return _GUESS_S + resident_bytes / _GUESS_BYTES_PER_S


def lead_s(cost_s: float, limit_s: float) -> float:
    """Return how long before the end the last checkpoint is to begin.

    COST_S is what the longest checkpoint took with its commit, or a guess; there is room for three of them, and some
    spare time. LIMIT_S is the whole time that the attempt has: at most half of it is kept free.
    """
    spare_s = min(max(limit_s * _SPARE_SHARE, LEAST_LEAD_S), MOST_SPARE_S)
    return min(spare_s + _CHECKPOINTS_IN_LEAD * cost_s, limit_s / 2)


def is_worth_it(lead: float, limit_s: float) -> bool:
    """Return whether at least twice the lead is left for computing."""
    return limit_s - lead >= _WORTH_IT * lead
