"""Random programs: which steps a seed stands for, and the text of a program that does them."""

from __future__ import annotations

import random
import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from random_programs.kind import Kind, Of, Text
from random_programs.kinds import BY_NAME, KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

HERE = Path(__file__).parent
ACTORS = ("main", "child 1", "child 2", "thread 1", "thread 2")
C_FLAGS = ("-O1", "-pthread", "-Wno-unused-result")
C_LIBRARIES = ("-lutil", "-lrt", "-lm", "-ldl")
_LEAST, _MOST = 30, 200
_CASTS = ((0,), (0,), (0, 1), (0, 3), (0, 1, 3), (0, 1, 2, 3, 4))
"""Which actors a program has."""
_IN_C = 0.75


@dataclass(frozen=True)
class Step:
    """A step: its KIND's name, the number of its ACTOR, and the number N that decides the rest."""

    kind: str
    actor: int
    n: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.actor}/{self.n}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """Return the step that `str` wrote."""
        kind, actor, n = text.rsplit("/", 2)
        return cls(kind, int(actor), int(n))


@dataclass(frozen=True)
class Program:
    """A random program: its STEPS, in one of the two languages."""

    steps: tuple[Step, ...]
    is_c: bool

    def __str__(self) -> str:
        return shlex.join(["c" if self.is_c else "python", *map(str, self.steps)])


def text_in(kind: Kind, *, is_c: bool) -> Text | None:
    """Return the text of KIND in one language, None if it has none there."""
    return kind.c if is_c else kind.python


def usable(left_out: Collection[str], *, is_c: bool) -> list[Kind]:
    """Return the kinds that are drawn and have steps in one language, without those LEFT OUT."""
    found = with_steps(is_c=is_c)
    return [kind for kind in found if kind.often and kind.name not in left_out and kind.needs not in left_out]


def with_steps(*, is_c: bool) -> list[Kind]:
    """Return the kinds that have steps in one language, also those that are not drawn."""
    found = [(kind, text_in(kind, is_c=is_c)) for kind in KINDS]
    return [kind for kind, text in found if text and (text.do or (text.check and kind.often))]


def program(seed: int, left_out: Collection[str] = ()) -> Program:
    """Return the program that SEED stands for, without kinds that are LEFT OUT.

    They are left out of those drawn: so a list that becomes shorter changes only the programs that they are in.
    """
    chance = random.Random(seed)
    is_c = chance.random() < _IN_C
    every = usable((), is_c=is_c)
    drawn = chance.sample(every, min(len(every), chance.randint(8, 40)))
    kinds = [kind for kind in usable(left_out, is_c=is_c) if kind in drawn] or usable(left_out, is_c=is_c)
    cast = chance.choice(_CASTS)
    count = chance.randint(_LEAST, _MOST)
    return Program(tuple(_step(chance, kinds, cast) for _ in range(count)), is_c)


def of_kinds(kinds: Sequence[Kind], *, is_c: bool) -> Program:
    """Return a program with three steps of each of KINDS by the program itself and by a child, and two by a thread.

    Three, as what every other step ends is there after an odd number of them.
    """
    chance = random.Random(" ".join(kind.name for kind in kinds))
    parts = [(kind, (0, 0, 0, 1, 1, 1, *((3, 3) if kind.of is Of.THREAD else ()))) for kind in kinds]
    steps = (Step(kind.name, actor, chance.getrandbits(31)) for kind, actors in parts for actor in actors)
    return Program(tuple(steps), is_c)


def _step(chance: random.Random, kinds: Sequence[Kind], cast: Sequence[int]) -> Step:
    (kind,) = chance.choices(kinds, [kind.often for kind in kinds])
    actors = [actor for actor in cast if kind.of is Of.THREAD or not ACTORS[actor].startswith("thread")]
    return Step(kind.name, chance.choice(actors), chance.getrandbits(31))


def used(steps: Sequence[Step]) -> list[Kind]:
    """Return the kinds of STEPS and what they need, in the order of their list."""
    names = {step.kind for step in steps}
    while needed := {BY_NAME[name].needs for name in names} - names - {""}:
        names |= needed
    return [kind for kind in KINDS if kind.name in names]


def text(wanted: Program) -> str:
    """Return the text of a program."""
    return _c(wanted.steps) if wanted.is_c else _python(wanted.steps)


def _c(steps: Sequence[Step]) -> str:
    kinds = used(steps)
    numbers = {kind.name: number for number, kind in enumerate(kinds)}
    parts = [(HERE / "harness.c").read_text(), *(_c_functions(kind) for kind in kinds)]
    parts += ["static const struct kind kinds[] = {", *(_c_row(kind, numbers) for kind in kinds), "};"]
    rows = [f"    {{{numbers[step.kind]}, {step.actor}, {step.n}u}}," for step in steps]
    parts += ["static const struct step steps[] = {", *rows, "};", (HERE / "harness_end.c").read_text()]
    return "\n".join(parts)


def _c_functions(kind: Kind) -> str:
    name, body = identifier(kind), kind.c or Text()
    parts = [f"/* {kind.name} */", textwrap.dedent(body.declare).strip()]
    for what, inside in (("act", body.do), ("check", body.check), ("end", body.end)):
        parameters = "unsigned n" if what == "act" else "void"
        lines = textwrap.indent(textwrap.dedent(inside).strip(), "    ")
        parts.append(f"static void {what}_{name}({parameters})\n{{\n{lines}\n}}")
    return "\n\n".join(parts) + "\n"


def _c_row(kind: Kind, numbers: dict[str, int]) -> str:
    name = identifier(kind)
    return f'    {{"{kind.name}", act_{name}, check_{name}, end_{name}, {numbers.get(kind.needs, -1)}}},'


def _python(steps: Sequence[Step]) -> str:
    kinds = used(steps)
    parts = [(HERE / "harness.py").read_text(), *(_python_functions(kind) for kind in kinds)]
    parts += ["KINDS = {", *map(_python_row, kinds), "}", "STEPS = ["]
    parts += [f'    ("{step.kind}", {step.actor}, {step.n}),' for step in steps]
    return "\n".join([*parts, "]", 'if __name__ == "__main__":', "    run(KINDS, STEPS)", ""])


def _python_row(kind: Kind) -> str:
    name, needed = identifier(kind), BY_NAME.get(kind.needs)
    shares = needed is not None and needed.python is not None and needed.python.check
    return f'    "{kind.name}": ({name}_act, {name}_check, {name}_end, "{kind.needs if shares else ""}"),'


def _python_functions(kind: Kind) -> str:
    name, body = identifier(kind), kind.python or Text()
    parts = [f"# {kind.name}", textwrap.dedent(body.declare).strip()]
    for what, parameters, inside in (("act", "n, m", body.do), ("check", "m", body.check), ("end", "m", body.end)):
        lines = textwrap.indent(textwrap.dedent(inside).strip() or "pass", "    ")
        parts.append(f"def {name}_{what}({parameters}):\n{lines}")
    return "\n\n".join(parts) + "\n"


def identifier(kind: Kind) -> str:
    """Return the name of KIND as both languages write names."""
    return re.sub(r"\W+", "_", kind.name).strip("_").lower()
