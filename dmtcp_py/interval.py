"""How often to checkpoint, from what a checkpoint costs. PURE: values in, values out.

``cost_s`` is d, the seconds that one checkpoint takes from computing; ``mtti_s`` is M, the mean seconds between
interruptions; the result is the computing time between two checkpoints, in seconds.
"""

from __future__ import annotations

import math

FIRST_S = 60.0
"""Until a checkpoint has been measured, one is taken after this long."""
SHORTEST_S = 60.0
LONGEST_S = 3600.0
ASSUMED_MTTI_S = 86400.0
"""One interruption a day: what is assumed of a machine of which nothing is known."""


def young_s(cost_s: float, mtti_s: float) -> float:
    """Return Young's interval, √(2dM) (Communications of the ACM 17, 1974)."""
    return math.sqrt(2 * cost_s * mtti_s)


def daly_s(cost_s: float, mtti_s: float) -> float:
    """Return Daly's interval (Future Generation Computer Systems 22, 2006, equation 37)."""
    if cost_s >= 2 * mtti_s:
        return mtti_s
    ratio = cost_s / (2 * mtti_s)
    return young_s(cost_s, mtti_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost_s


def auto_s(cost_s: float | None, mtti_s: float = ASSUMED_MTTI_S) -> float:
    """Return the interval that ``auto`` means: Daly's, between a minute and an hour; COST_S None is not measured."""
    if cost_s is None:
        return FIRST_S
    return min(max(daly_s(cost_s, mtti_s), SHORTEST_S), LONGEST_S)
