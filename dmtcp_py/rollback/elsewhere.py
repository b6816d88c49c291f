"""Changes to files that did not reach the machine on which the job goes on: its journal came there from a mirror.

A mirror has the journal as it was some seconds before a crash. A file that the program first changed since the
checkpoint after that is not in it. Files that the program is known to change, and that changed later than the mirror
has seen, show it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.rollback.journal import read_entries
from dmtcp_py.rollback.parts import SEEN, numbers_of, undone
from dmtcp_py.rollback.shared_files import files_noted
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path


def remember_seen(root: Path, seen_at: float) -> None:
    """Note that the journal in ROOT is from SEEN_AT, in seconds since the epoch, and that its program ran on."""
    if root.is_dir():
        write_atomic(root / SEEN, repr(seen_at).encode())


def unrecorded(root: Path, since: str, *, but: frozenset[Path]) -> list[str]:
    """Return, as sentences, which files changed after the journal was seen, and are not in the part SINCE or later.

    BUT those are restored in another way.
    """
    try:
        seen_at = float((root / SEEN).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return []
    recorded = {
        entry.path
        for number in numbers_of(root)
        if number >= int(since)
        for entry in read_entries(root / f"{number:06}")
    }
    known = {*files_noted(root), *undone(root)} - recorded - but
    return [
        f"{path}, which the program changes, was changed by it when that did not reach the mirror any more"
        for path in sorted(known)
        if _changed_at(path) > seen_at
    ]


def _changed_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
