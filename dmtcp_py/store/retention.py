"""Which generations to keep and which to remove. PURE: makes the plan; `dmtcp_py.store.store` carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Generation(Struct, frozen=True):
    """A complete generation, as far as the plan needs it; LINEAGE is None if its manifest cannot be read."""

    number: int
    lineage: int | None


class Verdict(Struct, frozen=True):
    """Whether to keep a generation, and the rule that decides."""

    number: int
    keep: bool
    rule: str


def plan(
    generations: Sequence[Generation],
    *,
    keep: int,
    lineage: int,
    proved: Collection[int],
    copied: Collection[int] = (),
) -> list[Verdict]:
    """Return a verdict for each of GENERATIONS, newest first.

    The newest KEEP generations of LINEAGE are kept, at least one. PROVED are the generations from which a restart
    succeeded; the newest of them is kept too, and so are those that are being COPIED to a mirror. Generations of
    earlier lineages are kept until LINEAGE has one.
    """
    newest_first = sorted(generations, key=lambda generation: generation.number, reverse=True)
    of_lineage = [generation.number for generation in newest_first if generation.lineage == lineage]
    newest_proved = max((number for number in of_lineage if number in proved), default=None)
    verdicts = [_verdict(generation, of_lineage, max(keep, 1), lineage, newest_proved) for generation in newest_first]
    return [
        Verdict(one.number, keep=True, rule="being copied to a mirror")
        if not one.keep and one.number in copied
        else one
        for one in verdicts
    ]


def _verdict(
    generation: Generation, of_lineage: list[int], keep: int, lineage: int, newest_proved: int | None
) -> Verdict:
    number = generation.number
    if generation.lineage is None:
        if of_lineage and number < min(of_lineage):
            return Verdict(number, keep=False, rule="damaged, and older than every usable generation")
        return Verdict(number, keep=True, rule="damaged, kept for inspection")
    if generation.lineage != lineage:
        if of_lineage:
            return Verdict(
                number, keep=False, rule=f"from lineage {generation.lineage}, and a newer lineage has a generation"
            )
        return Verdict(number, keep=True, rule="the newest lineage has no generation yet")
    rank = of_lineage.index(number) + 1
    if rank <= keep:
        return Verdict(number, keep=True, rule=f"newest {rank} of {keep}")
    if number == newest_proved:
        return Verdict(number, keep=True, rule="newest from which a restart succeeded")
    return Verdict(number, keep=False, rule=f"older than the newest {keep}")
