"""Random damage to the list of what a program did to files, which has to be found before anything is undone by it.

A seed stands for one damage. Each is made in place, looked at as a rollback does, and taken back.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from dmtcp_py.rollback.journal import read_entries
from dmtcp_py.rollback.list_lines import LIST, read_lines
from faults.corruption import KINDS, kept
from faults.figures import End, Trial
from kit.killed_at_each_call import CHANGED, PREPARED, Lab

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_OF_OTHERS = {"a value edited"}


def campaign(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    """Have a program change files in FOLDER, and damage what was recorded of that, once for each of SEEDS."""
    lab = Lab(folder)
    lab.run(PREPARED)
    lab.begin()
    lab.run(CHANGED)
    other = lab.notes / lab.checkpoint()
    lab.run(CHANGED.replace('"changed"', '"changed once more"').partition("os.rename")[0])
    part = lab.notes / "000001"
    entries = read_entries(part)
    kinds = sorted(KINDS.keys() - _OF_OTHERS)
    for seed in seeds:
        chosen = random.Random(seed)
        kind = chosen.choice(kinds)
        file = part / chosen.choice([LIST, LIST, LIST, "size"])
        with kept(file, other / file.name):
            KINDS[kind](file, other / file.name, chosen)
            lines = read_lines(part)
            is_same = read_entries(part) == entries
        end = End.DETECTED if lines.is_damaged or lines.is_short else End.SURVIVED if is_same else End.WRONG
        yield Trial(kind, end, f"seed {seed}, {file.name}")
