"""Undo before a resume what the program did to files by name since the generation that is resumed.

The part of the journal that began with the generation and all later ones are undone, last entry first. Nothing is
changed unless everything can be undone, and nothing is deleted: what is taken away is set aside in the job's folder.
Undone entries leave the journal, so that an interrupted rollback can be continued; later parts are void then, and so
are generations that began with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.errors import RestartFailedError
from dmtcp_py.rollback.journal import lost_in, problems_of, read_entries
from dmtcp_py.rollback.parts import START, VOID, next_name, numbers_of
from dmtcp_py.rollback.put_back import SetAside, undo_part
from dmtcp_py.rollback.recording import begin, has_gone_down
from dmtcp_py.rollback.shared_files import shared
from dmtcp_py.system.files import make_private_dir, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_SET_ASIDE = "set-aside"
ACCEPT = "--accept-changed-files resumes all the same"


def go_back(
    root: Path | None, part: str | None, *, program_stopped: bool, accept: bool, warn: Callable[[str], None]
) -> None:
    """Undo what was done since PART began, and begin a new part, before a generation is restarted.

    ROOT is the folder of the journal, None if there is none. PROGRAM_STOPPED says whether the program ran on after that
    generation. See `undo` for the errors.
    """
    if root is not None and part is not None:
        if not program_stopped and has_gone_down(root):
            warn(
                "the machine went down since then: what the program did to files by name in the half minute before "
                "that may not have been recorded, and will be repeated"
            )
        undo(root, part, accept=accept, warn=warn)
    begin(root)


def start(root: Path, *, is_once_more: bool, warn: Callable[[str], None]) -> None:
    """Prepare for a program's start from its beginning.

    Where it IS_ONCE_MORE, as nothing was committed of the start before, undo what can be undone of what it did then,
    and WARN about the rest.
    """
    make_private_dir(root)
    record = root / START
    if is_once_more and record.exists():
        undo(root, record.read_text(encoding="ascii"), accept=True, warn=warn)
    write_atomic(record, next_name(root).encode())


def undo(root: Path, since: str, *, accept: bool, warn: Callable[[str], None]) -> None:
    """Make the files what they were when the part SINCE began, and WARN about what was set aside or cut.

    With ACCEPT what cannot be undone stays as it is. Raises RestartFailedError with the first file that cannot be; then
    none has been touched.
    """
    if not (root / since).is_dir():
        _warn_or_raise(["its files went back to an earlier generation since then"], accept=accept, warn=warn)
        return
    folders = [root / f"{number:06}" for number in numbers_of(root) if number >= int(since)]
    lists = {folder: read_entries(folder) for folder in folders}
    lost = [problem for folder in folders for problem in lost_in(folder)]
    notes = [note for folder in folders for note in lists[folder]]
    others = shared(root, root / since, notes)
    problems = [*lost, *problems_of(notes), *others.values()]
    _warn_or_raise(problems, accept=accept, warn=warn)
    aside = SetAside(root.parent / _SET_ASIDE)
    for folder in reversed(folders):
        undo_part(folder, [note for note in lists[folder] if note.path not in others], aside)
        if folder.name != since:
            folder.rename(folder.with_name(folder.name + VOID))
    aside.close()
    for path in aside.left:
        warn(f"{path}, which the program made since then, stays: there are files of others in it")
    if aside.count:
        files = "file" if aside.count == 1 else "files"
        warn(
            f"{aside.count} {files} changed since then went back to what they were; what they held is in {aside.folder}"
        )


def _warn_or_raise(problems: Sequence[str], *, accept: bool, warn: Callable[[str], None]) -> None:
    if problems and not accept:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RestartFailedError(f"{problems[0]}{more}; {ACCEPT}")
    for problem in problems:
        warn(f"{problem}: left as it is")
