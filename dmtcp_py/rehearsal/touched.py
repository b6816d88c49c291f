"""Which files a program changed in a rehearsal, as the record of changed files tells; and undoing all of it."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.rollback import held_files, undo
from dmtcp_py.rollback.journal import read_entries
from dmtcp_py.rollback.parts import START, numbers_of
from dmtcp_py.system.files import files_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.rehearsal.life import Stage
    from dmtcp_py.store.records import Manifest


def since(stage: Stage, manifest: Manifest) -> tuple[str, ...]:
    """Return the files that the program changed since the generation of MANIFEST, other than its streams."""
    if manifest.undo_part is None:
        return ()
    folder = stage.folder.resolve()
    paths = {*_changed(stage, int(manifest.undo_part)), *_grown(stage, manifest)}
    if stage.is_copy:
        # nobody else writes there
        since = manifest.created.timestamp() - manifest.cost.commit_s
        paths |= {path for path in files_below(folder) if path.stat().st_mtime > since}
    names = {path.relative_to(folder) if path.is_relative_to(folder) else path for path in paths}
    return tuple(sorted(map(str, names)))


def outside(stage: Stage) -> tuple[str, ...]:
    """Return the files outside the directory of STAGE that the program changed at any time."""
    folder = stage.folder.resolve()
    return tuple(sorted({str(path) for path in _changed(stage, 0) if not path.is_relative_to(folder)}))


def lasting(paths: Sequence[str]) -> tuple[str, ...]:
    """Return PATHS without those of temporary files, of which each run has its own."""
    temporary = Path(tempfile.gettempdir()).resolve()
    return tuple(path for path in paths if not Path(path).is_relative_to(temporary))


def undo_all(stage: Stage) -> list[str]:
    """Undo all that the program did to files since its start; return what could not be undone, as sentences."""
    root, problems = stage.layout.undo, list[str]()
    with suppress(FileNotFoundError):
        part = (root / START).read_text(encoding="ascii").split()[0]
        try:
            undo.undo(root, part, accept=True, warn=problems.append)
        except DmtcpRunError as error:
            problems.append(error.what)
    return [problem for problem in problems if not problem.startswith("restored ")]


def _changed(stage: Stage, first: int) -> Iterator[Path]:
    """Yield the files that were changed by name in the parts of the record from number FIRST on."""
    private = stage.private.resolve()
    for number in numbers_of(stage.layout.undo):
        for entry in read_entries(stage.layout.undo / f"{number:06}") if number >= first else ():
            if not entry.path.is_relative_to(private):
                yield entry.path


def _grown(stage: Stage, manifest: Manifest) -> Iterator[Path]:
    """Yield the files that were open when the generation of MANIFEST was taken, and have another size now."""
    with suppress(OSError, ValueError, KeyError):
        for file in held_files.read(stage.layout.generation(manifest.generation)).files:
            path = Path(file.path)
            if not path.is_relative_to(stage.private.resolve()) and path.exists() and path.stat().st_size != file.size:
                yield path
