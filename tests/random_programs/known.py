"""What is known to be wrong under an engine: file ``known-wrong``, from which the generator leaves it out.

A line is an engine, or the first words of its name, then a tab, the kind of step, a tab, and what comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = Path(__file__).with_name("known-wrong")


@dataclass(frozen=True)
class Known:
    """A KIND that is known to be wrong under an ENGINE, and WHAT comes of it."""

    engine: str
    kind: str
    what: str

    def is_of(self, engine: str) -> bool:
        """Whether it holds for the engine with this name and version."""
        return engine == self.engine or engine.startswith(f"{self.engine}-")


def load() -> list[Known]:
    """Return all that is known."""
    lines = [line for line in PATH.read_text().splitlines() if line and not line.startswith("#")]
    return [Known(*line.split("\t")) for line in lines]


def left_out(engine: str) -> set[str]:
    """Return the kinds that are left out of the programs for this engine."""
    return {known.kind for known in load() if known.is_of(engine)}


def write(found: Iterable[Known], measured: set[tuple[str, str]]) -> None:
    """Replace what is known of the pairs of engine and kind that were MEASURED by what was FOUND.

    Lines that are about several versions of an engine stay.
    """
    lines = PATH.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    kept = [one for one in load() if (one.engine, one.kind) not in measured]
    rows = sorted({*kept, *found}, key=lambda one: (one.engine, one.kind))
    PATH.write_text("\n".join([*head, *(f"{one.engine}\t{one.kind}\t{one.what}" for one in rows), ""]))
