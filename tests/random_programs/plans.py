"""When a random program is disturbed: at moments of chance, after its last step, or as it once happened."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from random_programs.generate import Program, Step

LONG_S = 3.5
"""About so long a program runs under an engine."""
_PLAIN_PAUSE_US = 500
_MARK = "at:"


@dataclass(frozen=True)
class Moment:
    """A checkpoint after STEP and a bit, a kill STEPS_BEYOND later; or while one more checkpoint is taken.

    Step -1 is before the first one.
    """

    step: int
    after_s: float
    steps_beyond: int
    is_torn: bool = False

    def __str__(self) -> str:
        return f"{_MARK}{self.step}+{self.steps_beyond}" + (f"~{self.after_s:.3f}" if self.is_torn else "")

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Return the moment that `str` wrote."""
        steps, is_torn, after = text.removeprefix(_MARK).partition("~")
        step, _, beyond = steps.rpartition("+")
        return cls(int(step), float(after or 0), int(beyond), is_torn=bool(is_torn))

    @property
    def last(self) -> int:
        """The step after which the program is killed."""
        return self.step + self.steps_beyond


@dataclass(frozen=True)
class Plan:
    """When a program is disturbed: at MOMENTS, before it goes on from step HOLD, where it waits until they are over.

    If it is HELD, it waits at each moment, so that the same happens each time.
    """

    moments: tuple[Moment, ...] = ()
    hold: int = -1
    pause_us: int = _PLAIN_PAUSE_US
    is_held: bool = False


def random_plan(program: Program, seed: int) -> Plan:
    """Return two or three moments that SEED stands for."""
    chance = random.Random(f"moments {seed}")
    count = len(program.steps)
    moments = []
    for step in sorted(chance.sample(range(2, count - 2), chance.choice((2, 2, 3)))):
        torn = chance.random() < 1 / 6
        moments.append(Moment(step, chance.uniform(0, LONG_S / count), chance.randint(0, count // 4), is_torn=torn))
    return Plan(tuple(moments), hold=count, pause_us=int(LONG_S * 1e6 / count))


def holding_plan(program: Program) -> Plan:
    """Return the plan of one checkpoint and one kill after all steps."""
    count = len(program.steps)
    return Plan((Moment(count - 1, 0, 0),), hold=count)


def held_plan(moments: Sequence[Moment]) -> Plan:
    """Return the plan of MOMENTS at which the program waits."""
    return Plan(tuple(moments), hold=moments[0].step + 1, is_held=True)


def among(moments: Sequence[Moment], steps: Sequence[Step], some: Sequence[Step]) -> tuple[Moment, ...]:
    """Return MOMENTS of a program with all STEPS as those of one that has only SOME of them."""
    places = {step: place for place, step in enumerate(steps)}
    kept = [places[step] for step in some]

    def now(step: int) -> int:
        return sum(place <= step for place in kept) - 1

    return tuple(replace(one, step=now(one.step), steps_beyond=now(one.last) - now(one.step)) for one in moments)


def divided(words: Sequence[str]) -> tuple[list[str], list[Moment]]:
    """Return the steps among WORDS, and the moments."""
    moments = [Moment.parse(word) for word in words if word.startswith(_MARK)]
    return [word for word in words if not word.startswith(_MARK)], moments
