"""Undo before a resume what the program did to files by name since the generation that is resumed.

The part of the journal that began with the generation and all later ones are undone, last entry first. Nothing is
changed unless everything can be undone, and nothing is deleted: what is taken away is set aside in the job's folder.
Undone entries leave the journal, so that an interrupted rollback can be continued; later parts are void then, and so
are generations that began with them. Whether everything can be undone is judged once, before the first change: files
that are half way back would be judged wrongly.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from dmtcp_py.errors import FilesChangedError, RestartFailedError
from dmtcp_py.rollback.elsewhere import unrecorded
from dmtcp_py.rollback.in_memory import is_in_memory
from dmtcp_py.rollback.joining import settle
from dmtcp_py.rollback.journal import lost_in, problems_of, read_entries
from dmtcp_py.rollback.list_lines import LIST, read_lines
from dmtcp_py.rollback.objects import is_object
from dmtcp_py.rollback.parts import START, UNDONE, UNFINISHED, VOID, next_name, numbers_of, remember_undone
from dmtcp_py.rollback.put_back import NamesOfFiles, problems_named, undo_part
from dmtcp_py.rollback.recording import begin, has_gone_down, has_lost_memory
from dmtcp_py.rollback.set_aside import SetAside
from dmtcp_py.rollback.shared_files import shared
from dmtcp_py.system.files import make_private_dir, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dmtcp_py.rollback.journal import Entry

SET_ASIDE = "set-aside"
ACCEPT = "--accept-changed-files resumes all the same"


class Goal(NamedTuple):
    """The state of the files to which a resume goes back: that of a generation."""

    part: str | None
    """The part that began with it; None if nothing was recorded."""
    program_stopped: bool
    """Whether the program did not run on after it."""
    kept: frozenset[Path] = frozenset()
    """Files in memory of which the generation has copies."""
    held: frozenset[Path] = frozenset()
    """Files that the program had open: they are restored by what the generation says of them."""


def go_back(root: Path | None, goal: Goal, *, accept: bool, warn: Callable[[str], None]) -> None:
    """Undo what was done since the part of GOAL began, and begin a new part, before a generation is restarted.

    ROOT is the folder of the journal, None if there is none. See `undo` for the errors.
    """
    part = goal.part
    if root is not None and part is not None:
        if not goal.program_stopped:
            _warn_if_gone_down(root, warn)
            _warn_or_raise(unrecorded(root, part, but=goal.held), accept=accept, warn=warn)
        undo(root, part, accept=accept, warn=warn, kept=goal.kept)
    begin(root)


def _warn_if_gone_down(root: Path, warn: Callable[[str], None]) -> None:
    if has_gone_down(root):
        warn(
            "the machine went down since then: what the program did to files by name in the half minute before that "
            "may not have been recorded, and will be repeated"
        )


def start(root: Path, *, lineage: int, is_once_more: bool, warn: Callable[[str], None]) -> None:
    """Prepare for a program's start from its beginning, in LINEAGE.

    Where it IS_ONCE_MORE, as nothing was committed of the start before, undo what can be undone of what it did then,
    and WARN about the rest. What an earlier lineage did stays.
    """
    make_private_dir(root)
    record, part = root / START, None
    if is_once_more:
        with suppress(FileNotFoundError, ValueError):
            part, begun = record.read_text(encoding="ascii").split()
            part = part if int(begun) == lineage else None
    if is_once_more:
        _warn_if_gone_down(root, warn)
    # a start that was killed before its part began has done nothing
    if part is not None and (root / part).is_dir():
        undo(root, part, accept=True, warn=warn, began="the program's start")
    (root / UNDONE).unlink(missing_ok=True)
    write_atomic(record, f"{next_name(root)} {lineage}".encode())


def undo(  # noqa: PLR0913 - each is a fact of its own
    root: Path,
    since: str,
    *,
    accept: bool,
    warn: Callable[[str], None],
    kept: frozenset[Path] = frozenset(),
    began: str = "the checkpoint",
) -> None:
    """Make the files what they were when the part SINCE began, and WARN about what was set aside or cut.

    BEGAN is what that moment is called. The content of files that are KEPT is left to others. With ACCEPT what cannot
    be undone stays as it is. Raises RestartFailedError with the first file that cannot be; then none has been touched.
    An error of the system is an EngineError: the rollback goes on with the next run. A rollback to a later part that
    was interrupted is finished first.
    """
    with problems_named(root):
        settle(root)
    if not (root / since).is_dir():
        problem = "its files went back to an earlier generation since then"
        if not accept:
            raise RestartFailedError(problem, ACCEPT)
        warn(f"{problem}: left as it is")
        return
    aside = SetAside(root.parent / SET_ASIDE)
    begun = _unfinished(root)
    if begun is not None and int(begun) > int(since):
        _Rollback(root=root, since=begun, aside=aside, kept=kept).carry_out(is_judged=True, accept=accept, warn=warn)
        begun = None
    _Rollback(root=root, since=since, aside=aside, kept=kept).carry_out(
        is_judged=begun is not None, accept=accept, warn=warn
    )
    for path in aside.left:
        warn(f"{path}, which the program made since {began}, stays: others have files in it")
    if aside.count:
        files = "file" if aside.count == 1 else "files"
        warn(f"restored what changed since {began}; the changed content is in {aside.folder} ({aside.count} {files})")
    # said first: a rollback that is killed in between says it once more
    (root / UNFINISHED).unlink(missing_ok=True)
    aside.close()


class _Rollback(Struct, frozen=True):
    """The undoing of the part SINCE and all later ones."""

    root: Path
    since: str
    aside: SetAside
    kept: frozenset[Path]

    def carry_out(self, *, is_judged: bool, accept: bool, warn: Callable[[str], None]) -> None:
        """Undo them; IS_JUDGED if that was found possible before, and begun. See `undo` for the errors."""
        folders = [self.root / f"{number:06}" for number in numbers_of(self.root) if number >= int(self.since)]
        lists = {folder: self._entries(folder) for folder in folders}
        entries = [entry for folder in folders for entry in lists[folder]]
        others = shared(self.root, self.root / self.since, entries)
        lost = [problem for folder in folders for problem in (*lost_in(folder), *self._damage(folder, warn))]
        problems = [] if is_judged else problems_of(entries)
        _warn_or_raise([*lost, *problems, *others.values()], accept=accept, warn=warn)
        if entries and not problems:
            write_atomic(self.root / UNFINISHED, self.since.encode())
        remember_undone(self.root, {entry.path for entry in entries})
        names = NamesOfFiles(entries)
        for folder in reversed(folders):
            undo_part(folder, [entry for entry in lists[folder] if entry.path not in others], self.aside, names)
            if folder.name != self.since:
                folder.rename(folder.with_name(folder.name + VOID))

    def _damage(self, folder: Path, warn: Callable[[str], None]) -> list[str]:
        """Return what is wrong with the list of the part FOLDER; WARN of what the machine lost."""
        lines = read_lines(folder)
        if not lines.is_damaged and lines.is_short and has_lost_memory(self.root):
            warn(f"the end of {folder / LIST} was lost with the machine: what the program did last will be repeated")
            return []
        if not lines.is_damaged and not lines.is_short:
            return []
        return [f"{folder / LIST}, the record of what the program did to files since then, is damaged"]

    def _entries(self, folder: Path) -> list[Entry]:
        """Return what is to be undone of the part FOLDER: nothing in memory that was lost."""
        is_lost = has_lost_memory(self.root)
        return [
            entry
            for entry in read_entries(folder)
            if not (is_lost and (is_in_memory(entry.path) or is_object(entry.path)))
            and not (entry.kind in "AFR" and entry.path in self.kept)
        ]


def _unfinished(root: Path) -> str | None:
    """Return the part with which a rollback began that was judged possible and did not come to its end."""
    with suppress(FileNotFoundError):
        part = (root / UNFINISHED).read_text(encoding="ascii")
        return part if (root / part).is_dir() else None
    return None


def _warn_or_raise(problems: Sequence[str], *, accept: bool, warn: Callable[[str], None]) -> None:
    if problems and not accept:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise FilesChangedError(f"{problems[0]}{more}", ACCEPT)
    for problem in problems:
        warn(f"{problem}: left as it is")
