"""The folder of the journal: its parts, and which of them is written to. Uses the standard library alone.

In the job's folder ``undo`` lie, beside the parts: ``now`` and ``next``, links to the part that is written to and to
the one that the next checkpoint begins; ``hold``, while processes have to wait after a checkpoint; ``gate`` and
``shut``, by which an image is taken while no process is between a journal entry and the change that it announces;
``boot``, which machine wrote last; ``start``, the part with which the program began, and in which lineage;
``unfinished``, while a rollback is under way, the part with which it begins; ``undone``, the files that rollbacks have
put back; ``written.json``, the files that the program has written; ``seen``, where the journal came from a mirror,
when it was so. A name with a dot in front is not whole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW, NEXT, HOLD, GATE, SHUT, BOOT = "now", "next", "hold", "gate", "shut", "boot"
START, UNFINISHED, UNDONE, SEEN = "start", "unfinished", "undone", "seen"
VOID = ".void"
"""The suffix of parts that were undone after that of the generation: a generation that began with one is void too."""


def begin_next(root: Path) -> None:
    """Begin the part that was made ready: from now on changes belong to it. Raises FileNotFoundError if none was."""
    (root / NEXT).replace(root / NOW)


def has_begun(root: Path, name: str) -> bool:
    """Whether the part NAME is written to: if no process records anything, it never is."""
    with suppress(OSError):
        return os.readlink(root / NOW) == name
    return False


def remember_undone(root: Path, paths: Iterable[Path]) -> None:
    """Keep that a rollback puts PATHS back: how they change then is no program's doing."""
    new = {os.fsencode(path) for path in paths}
    if not new <= (known := set(_undone(root))):
        write_atomic(root / UNDONE, b"".join(path + b"\0" for path in sorted(known | new)), durable=False)


def started_with(root: Path) -> int:
    """Return the number of the part that began with the program's start; 0 if that is not recorded."""
    with suppress(FileNotFoundError, ValueError):
        return int((root / START).read_text(encoding="ascii").split()[0])
    return 0


def undone(root: Path) -> set[Path]:
    """Return what rollbacks have put back."""
    return {Path(os.fsdecode(path)) for path in _undone(root)}


def _undone(root: Path) -> list[bytes]:
    with suppress(FileNotFoundError):
        return (root / UNDONE).read_bytes().split(b"\0")[:-1]
    return []


def next_name(root: Path) -> str:
    """Return a name that no part has had."""
    used = [int(path.name.removesuffix(VOID)) for path in root.iterdir() if path.name[:1].isdecimal()]
    return f"{max([0, *used]) + 1:06}"


def numbers_of(root: Path) -> list[int]:
    """Return the numbers of the parts, lowest first."""
    if not root.is_dir():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())
