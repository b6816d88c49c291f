"""The images of one checkpoint, complete but not committed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from dmtcp_py.system.files import files_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from dmtcp_py.system.stamps import Stamp


class StagedImages(Struct, frozen=True, kw_only=True):
    """The images of one checkpoint as an engine wrote them. FILES and RESTART_IMAGES are names below FOLDER."""

    folder: Path
    files: tuple[str, ...]
    restart_images: tuple[str, ...]
    processes: int
    updated_files: tuple[str, ...] = ()
    """Files of the program that it may read back and of which the images hold no copy."""
    mapped_files: tuple[str, ...] = ()
    """Those of them that it has mapped for writing."""
    stamps: dict[str, Stamp] = field(default_factory=dict)
    """By what those that did not change while the images were taken are recognized as unchanged."""
    notes: tuple[str, ...] = ()
    """Further things that a restart cannot restore, as warnings for the user."""
    engine_data: dict[str, str] = field(default_factory=dict)
    """Values that the engine needs again for a restart."""
    way: str = ""
    """How the engine ran the program; empty if it has one way."""
    undo_part: str | None = None
    """The part of the journal of changed files that began with these images."""


def stage(folder: Path, restart_images: Sequence[str], processes: int, **fields: Any) -> StagedImages:
    """Return all files in FOLDER as the images of one checkpoint; FIELDS are the other fields of `StagedImages`."""
    return StagedImages(
        folder=folder,
        files=tuple(str(path.relative_to(folder)) for path in files_below(folder)),
        restart_images=tuple(restart_images),
        processes=processes,
        **fields,
    )
