"""What cannot be checkpointed, as it is handed on: by `refusals`, and beside the images by what runs while frozen."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "refused.json"


class Refusal(NamedTuple):
    """What cannot be checkpointed, and the next step."""

    what: str
    hint: str = ""
    is_temporary: bool = False
    """Whether a later checkpoint may be possible."""
    has_changed: bool = False
    """Whether the dump has changed the program, which must not run on."""


def write(images: Path, refusal: Refusal) -> None:
    """Leave a refusal while frozen beside what there is of the images."""
    (images / _NAME).write_text(json.dumps(refusal), encoding="utf-8")


def left_in(images: Path) -> Refusal | None:
    """Return the refusal of the last dump into IMAGES; None if there was none."""
    with suppress(FileNotFoundError):
        return Refusal(*json.loads((images / _NAME).read_text(encoding="utf-8")))
    return None
