"""Brings the program's files back to a checkpoint: those that it changed by name, and those that it had open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from dmtcp_py.rollback import restore_held_files, written_files
from dmtcp_py.rollback.inputs import InputFile
from dmtcp_py.rollback.journal import files_of, read_entries
from dmtcp_py.rollback.parts import numbers_of
from dmtcp_py.rollback.put_back import problems_named
from dmtcp_py.rollback.recording import has_gone_down
from dmtcp_py.rollback.restore_held_files import Since
from dmtcp_py.rollback.shared_files import files_noted
from dmtcp_py.rollback.undo import SET_ASIDE, Goal, go_back

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dmtcp_py.rollback.held_files import HeldFile
    from dmtcp_py.rollback.journal import Entry
    from dmtcp_py.store.records import Manifest


class Images(NamedTuple):
    """The images of one generation in FOLDER, which MANIFEST describes."""

    folder: Path
    manifest: Manifest
    copied: Collection[str] = ()
    """The files of code that the program is restarted with copies of."""
    needs_same_size: bool = False
    """Whether the engine restarts the program only if the files that it reads have the size that they had."""


def restore(images: Images, undo: Path | None, *, accept: bool, warn: Callable[[str], None]) -> None:
    """Bring files back to what they were when IMAGES were taken.

    UNDO is the record of what the program did to files since then; None if there is none. With ACCEPT files that cannot
    be brought back are warned of, otherwise they raise RestartFailedError.
    """
    folder, manifest, copied, needs_same_size = images
    goal = Goal(
        part=manifest.undo_part,
        program_stopped=manifest.program_stopped,
        kept=restore_held_files.kept_in_memory(folder),
        held=restore_held_files.held_open(folder),
    )
    is_recorded = undo is not None and not has_gone_down(undo)
    own = frozenset() if undo is None else frozenset(files_noted(undo))
    since = Since(
        is_recorded=is_recorded,
        has_run_on=not manifest.program_stopped,
        own=own,
        aside=None if undo is None else undo.parent / SET_ASIDE,
        needs_same_size=needs_same_size,
    )
    # what undoing does not change is judged before anything is changed; without its part, a generation is given up
    undone = _Undone(undo, goal.part)
    if undo is None or goal.part is None or (undo / goal.part).is_dir():
        early = structs.replace(since, is_undone=undone.has)
        restore_held_files.refuse(folder, early, but=copied, accept=accept)
    if undo is not None:
        with problems_named(undo):
            written_files.set_back(undo, manifest, folder, undone.all, is_recorded=is_recorded)
    go_back(undo, goal, accept=accept, warn=warn)
    restore_held_files.restore(folder, since, but=copied, accept=accept, warn=warn)
    if undo is not None:
        with problems_named(undo):
            written_files.compare(undo, manifest, folder, warn)


class _Undone:
    """The files that change when the PART of the journal in ROOT, and all later ones, are undone."""

    def __init__(self, root: Path | None, part: str | None) -> None:
        self.entries: list[Entry] = []
        if root is not None and part is not None:
            numbers = [number for number in numbers_of(root) if number >= int(part)]
            self.entries = [entry for number in numbers for entry in read_entries(root / f"{number:06}")]
        # what is below a folder that was moved may have other names now
        self._has_moves = any(entry.kind == "M" for entry in self.entries)
        # one that was only appended to keeps its beginning
        self._whole = files_of(entry for entry in self.entries if entry.kind != "A" or not entry.size)
        self.all = files_of(self.entries)

    def has(self, file: HeldFile | InputFile) -> bool:
        """Whether FILE changes: more than that its end is cut off, if the program wrote to it."""
        path = Path(file.path)
        found = self.all if isinstance(file, InputFile) else self._whole
        return self._has_moves or not found.isdisjoint((path, *path.parents, (file.device, file.inode)))
