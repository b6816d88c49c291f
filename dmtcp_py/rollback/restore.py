"""Brings the program's files back to a checkpoint: those that it changed by name, and those that it had open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.rollback import restore_held_files
from dmtcp_py.rollback.recording import has_gone_down
from dmtcp_py.rollback.restore_held_files import Since
from dmtcp_py.rollback.shared_files import files_noted
from dmtcp_py.rollback.undo import SET_ASIDE, Goal, go_back

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from dmtcp_py.store.records import Manifest


class Images(NamedTuple):
    """The images of one generation in FOLDER, which MANIFEST describes."""

    folder: Path
    manifest: Manifest
    copied: Collection[str] = ()
    """The files of code that the program is restarted with copies of."""


def restore(images: Images, undo: Path | None, *, accept: bool, warn: Callable[[str], None]) -> None:
    """Bring files back to what they were when IMAGES were taken.

    UNDO is the record of what the program did to files since then; None if there is none. With ACCEPT files that cannot
    be brought back are warned of, otherwise they raise RestartFailedError.
    """
    folder, manifest, copied = images
    goal = Goal(
        part=manifest.undo_part,
        program_stopped=manifest.program_stopped,
        kept=restore_held_files.kept_in_memory(folder),
        held=restore_held_files.held_open(folder),
    )
    is_recorded = undo is not None and not has_gone_down(undo)
    own = frozenset() if undo is None else frozenset(files_noted(undo))
    go_back(undo, goal, accept=accept, warn=warn)
    has_run_on = not manifest.program_stopped
    aside = None if undo is None else undo.parent / SET_ASIDE
    since = Since(is_recorded=is_recorded, has_run_on=has_run_on, own=own, aside=aside)
    restore_held_files.restore(folder, since, but=copied, accept=accept, warn=warn)
