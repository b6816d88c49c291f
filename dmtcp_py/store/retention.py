"""Which generations may go. PURE: plan, show, then somebody else does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True)
class Generation:
    """What the plan needs to know of a complete generation; LINEAGE is None where its manifest cannot be read."""

    number: int
    lineage: int | None


@dataclass(frozen=True)
class Verdict:
    """Whether a generation stays, and the rule that says so."""

    number: int
    keep: bool
    rule: str


def plan(generations: Sequence[Generation], *, keep: int, lineage: int, proved: Collection[int]) -> list[Verdict]:
    """Return a verdict for each of GENERATIONS, newest first.

    KEEP is the number of newest ones of LINEAGE to keep (at least one is); PROVED are those that came up at a
    restart, of which the newest is kept too. Generations of earlier lineages stay until LINEAGE has one of its own.
    """
    newest_first = sorted(generations, key=lambda generation: generation.number, reverse=True)
    mine = [generation.number for generation in newest_first if generation.lineage == lineage]
    newest_proved = max((number for number in mine if number in proved), default=None)
    return [_verdict(generation, mine, max(keep, 1), lineage, newest_proved) for generation in newest_first]


def _verdict(generation: Generation, mine: list[int], keep: int, lineage: int, newest_proved: int | None) -> Verdict:
    number = generation.number
    if generation.lineage is None:
        if mine and number < min(mine):
            return Verdict(number, keep=False, rule="damaged, and older than all that can be used")
        return Verdict(number, keep=True, rule="damaged: kept for you to look at")
    if generation.lineage != lineage:
        if mine:
            return Verdict(number, keep=False, rule=f"lineage {generation.lineage}, and a newer one has its first")
        return Verdict(number, keep=True, rule="the newest lineage has no generation yet")
    rank = mine.index(number) + 1
    if rank <= keep:
        return Verdict(number, keep=True, rule=f"newest {rank} of {keep}")
    if number == newest_proved:
        return Verdict(number, keep=True, rule="newest that came up at a restart")
    return Verdict(number, keep=False, rule=f"older than the newest {keep}")
