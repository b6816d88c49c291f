"""The record of what processes were at a checkpoint, beside the images. Uses the standard library alone."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

NAME = "processes.json"
Values = dict[str, dict[str, str]]
"""What each process was, by its pid: values by name."""


class Compared(NamedTuple):
    """What was compared after a restart: of so many PROCESSES so many VALUES, of which those in DIFFERENCES differ."""

    processes: int
    values: int
    differences: tuple[str, ...] = ()


def write(images: Path, found: Values) -> None:
    """Write what was FOUND beside IMAGES."""
    (images / NAME).write_text(json.dumps(found), encoding="ascii")


def read(images: Path) -> Values:
    """Return what was recorded beside IMAGES; nothing for a generation of an older dmtcp-run."""
    with suppress(FileNotFoundError):
        found: Values = json.loads((images / NAME).read_text(encoding="ascii"))
        return found
    return {}
