"""The files in the temporary folder of a computation that the plugin `state` reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STOPPED = "stopped"
"""The pids of processes that are to stop again after a checkpoint."""
_PROCESSORS = "processors"
_WORD_BITS = 64


def write_processors(folder: Path) -> None:
    """Write down on which processors this process may run: a program that has others has chosen them.

    The others are those that the batch system assigned to this attempt, and the next attempt may get different ones.
    """
    mask = sum(1 << number for number in os.sched_getaffinity(0))
    words = []
    while mask:
        words.append(f"{mask % (1 << _WORD_BITS):016x}\n")
        mask >>= _WORD_BITS
    (folder / _PROCESSORS).write_text("".join(words), encoding="ascii")
