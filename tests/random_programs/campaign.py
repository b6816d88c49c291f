"""Many random programs under an engine, several at a time; those that go wrong are reduced."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from random_programs import known
from random_programs.generate import ACTORS, Program, of_kinds, program, with_steps
from random_programs.kinds import BY_NAME
from random_programs.known import Known
from random_programs.life import Life, Outcome, Result
from random_programs.plans import among, held_plan, holding_plan, random_plan
from random_programs.reduce import Budget, reduce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kit.engines import EngineHere
    from random_programs.generate import Step
    from random_programs.kind import Kind
    from random_programs.plans import Moment, Plan

_REASON_CHARS = 110
_TOGETHER = 8
"""So many kinds are measured in one program."""


@dataclass(frozen=True)
class Finding:
    """What came of the program that SEED stands for under ENGINE, and the steps that matter if it went wrong.

    If it is wrong only with MOMENTS before its last step, those are named too.
    """

    seed: int
    engine: str
    result: Result
    reduced: Program | None = None
    moments: tuple[Moment, ...] = ()

    def __str__(self) -> str:
        words = f"{self.engine} seed {self.seed}: {self.result.outcome.value}"
        words += f": {self.result.detail}" if self.result.detail else ""
        if self.reduced:
            words += f"\n    reduced to: {' '.join(map(str, (self.reduced, *self.moments)))}"
        elif self.result.is_bad:
            moments = " ".join(map(str, self.result.moments))
            words += f"\n    not reduced: it is right once more, though it waits at the checkpoints ({moments})"
        return words


@dataclass(frozen=True)
class Campaign:
    """Programs for an ENGINE, with ALL kinds or without those that are known to be wrong."""

    engine: EngineHere
    has_all: bool = False
    reduce_s: float = 120.0
    within: Path | None = None
    """Where the folders of programs are made."""
    is_bare: bool = False
    """Whether dmtcp-run leaves out what is ours."""

    def program(self, seed: int) -> Program:
        """Return the program that SEED stands for."""
        return program(seed, () if self.has_all else known.left_out(str(self.engine)))

    def findings(self, seeds: Sequence[int], jobs: int) -> Iterator[Finding]:
        """Run the programs of SEEDS, JOBS at a time, and yield what came of each."""
        with ThreadPoolExecutor(jobs) as pool:
            for done in as_completed([pool.submit(self.finding, seed) for seed in seeds]):
                yield done.result()

    def finding(self, seed: int) -> Finding:
        """Run one program, and reduce it if it goes wrong."""
        wanted = self.program(seed)
        result = self.live(wanted, random_plan(wanted, seed))
        found = Finding(seed, str(self.engine), result)
        needs_reduction = result.is_bad and result.outcome is not Outcome.BROKEN and self.reduce_s
        return self._reduced(wanted, found) if needs_reduction else found

    def live(self, wanted: Program, plan: Plan) -> Result:
        """Run a program as PLAN says, in a folder that is removed then."""
        folder = Path(tempfile.mkdtemp(prefix="random-program-", dir=self.within))
        try:
            return Life(wanted, folder, self.engine, bare=self.is_bare).run(plan)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _reduced(self, wanted: Program, found: Finding) -> Finding:
        """Return what was FOUND with the steps that matter: first with a checkpoint after them, then as it happened."""
        budget = Budget(self.reduce_s)
        suspects = _suspects(wanted, found.result.detail)

        def fewest(plan_of: Callable[[Program], Plan]) -> Program | None:
            def is_wrong(steps: Sequence[Step]) -> bool:
                some = Program(tuple(steps), wanted.is_c)
                return self.live(some, plan_of(some)).outcome is found.result.outcome

            steps = reduce(wanted.steps, suspects, is_wrong, budget)
            return Program(steps, wanted.is_c) if steps else None

        def moments_in(some: Program) -> tuple[Moment, ...]:
            return among(found.result.moments, wanted.steps, some.steps)

        if plain := fewest(holding_plan):
            return replace(found, reduced=plain)
        held = found.result.moments and fewest(lambda some: held_plan(moments_in(some)))
        return replace(found, reduced=held, moments=moments_in(held)) if held else found


def _suspects(wanted: Program, detail: str) -> list[tuple[Step, ...]]:
    """Return the steps of the kind, or with the model, that DETAIL names: those of its actor, and then all of them."""
    if not detail.startswith("DIFFERS "):
        return []
    actor, name = [*detail.removeprefix("DIFFERS ").split(": "), ""][:2]
    of_kind = tuple(step for step in wanted.steps if name in (step.kind, BY_NAME[step.kind].needs))
    of_actor = tuple(step for step in of_kind if ACTORS[step.actor] == actor)
    return [part for part in (of_actor, of_kind) if part]


def table(findings: Sequence[Finding]) -> str:
    """Return how many programs came out how, for each engine, and why some were refused."""
    engines = sorted({finding.engine for finding in findings})
    counts = Counter((finding.engine, finding.result.outcome) for finding in findings)
    lines = ["".join(["engine".ljust(14), *(f"{outcome.value:>14}" for outcome in Outcome), f"{'resumed':>14}"])]
    for engine in engines:
        lives = sum(finding.result.lives for finding in findings if finding.engine == engine)
        cells = [f"{counts[engine, outcome]:>14}" for outcome in Outcome]
        lines.append("".join([engine.ljust(14), *cells, f"{lives:>14}"]))
    refused = [one.result for one in findings if one.result.outcome in (Outcome.REFUSED, Outcome.LATE)]
    reasons = Counter(f"{one.outcome.value}: {one.detail[:_REASON_CHARS]}" for one in refused)
    lines += [f"{count:5} {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


def measure_kinds(
    campaign: Campaign, names: Sequence[str], jobs: int, *, exactly: bool = False
) -> Iterator[tuple[Known, Result]]:
    """Run each kind of steps under an engine, with a checkpoint and a kill after them; yield what came of it.

    The kinds are those with NAMES in their own names, or EXACTLY those; all, if there are none.
    Several kinds are in one program; where it goes wrong, those that differ, or both halves, are looked at once more.
    """
    with ThreadPoolExecutor(jobs) as pool:
        for is_c in (True, False):
            asked = [kind for kind in with_steps(is_c=is_c) if _is_asked(kind.name, names, exactly=exactly)]
            groups = [asked[start : start + _TOGETHER] for start in range(0, len(asked), _TOGETHER)]
            for found in pool.map(lambda group, is_c=is_c: _measure(campaign, group, is_c=is_c), groups):
                for kind, result in found.items():
                    yield Known(str(campaign.engine), kind, result.outcome.value), result


def _is_asked(kind: str, names: Sequence[str], *, exactly: bool) -> bool:
    return kind in names if exactly else not names or any(name in kind for name in names)


def _measure(campaign: Campaign, kinds: Sequence[Kind], *, is_c: bool) -> dict[str, Result]:
    if not kinds:
        return {}
    wanted = of_kinds(kinds, is_c=is_c)
    result = campaign.live(wanted, holding_plan(wanted))
    if result.outcome is Outcome.RIGHT or len(kinds) == 1:
        return {kind.name: result for kind in kinds}
    differing = [kind for kind in kinds if kind.name in result.differing]
    rest = [kind for kind in kinds if kind not in differing]
    if differing:
        return {kind.name: result for kind in differing} | _measure(campaign, rest, is_c=is_c)
    half = len(kinds) // 2
    return _measure(campaign, kinds[:half], is_c=is_c) | _measure(campaign, kinds[half:], is_c=is_c)
