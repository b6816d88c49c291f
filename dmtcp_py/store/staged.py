"""Complete images as an engine left them, before they are committed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dmtcp_py.system.files import files_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any


@dataclass(frozen=True, kw_only=True)
class StagedImages:
    """Complete images as an engine left them: FILES and RESTART_IMAGES are names below FOLDER."""

    folder: Path
    files: tuple[str, ...]
    restart_images: tuple[str, ...]
    processes: int
    updated_files: tuple[str, ...] = ()
    """Files of the program that it may read back, and whose old content is not among the images."""
    mapped_files: tuple[str, ...] = ()
    """Those of them that it writes as memory."""
    notes: tuple[str, ...] = ()
    """What else of the program a restart cannot make as it was."""
    engine_data: dict[str, str] = field(default_factory=dict)
    """What the engine wants to know again at the restart."""
    undo_part: str | None = None
    """The part of the journal of changed files that began with these images."""


def stage(folder: Path, restart_images: Sequence[str], processes: int, **fields: Any) -> StagedImages:
    """Return all that lies in FOLDER as the images of one checkpoint; FIELDS are those of `StagedImages` besides."""
    return StagedImages(
        folder=folder,
        files=tuple(str(path.relative_to(folder)) for path in files_below(folder)),
        restart_images=tuple(restart_images),
        processes=processes,
        **fields,
    )
