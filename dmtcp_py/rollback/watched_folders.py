"""The directories in which unwatched processes are known to write: what lies there, and by what it is recognized.

Written for CRIU inside the computation's namespaces, so this module uses the standard library alone.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.system.stamps import stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.system.stamps import Stamp

_MOST_STAMPS = 20_000
"""The program waits some 50 ms for so many."""


def folders_in(trees: Sequence[str], writes_in: Sequence[str], jobs: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield all directories in TREES, and WRITES_IN, with the names in each; none twice, and none of another disk.

    JOBS, the directory of the jobs, is left out.
    """
    seen: set[Path] = set()
    for top in map(Path, trees):
        for name, below, files in os.walk(top):
            folder = Path(name)
            is_known = folder in seen
            below[:] = [] if is_known else [one for one in below if folder / one != jobs and _is_on(folder / one, top)]
            if not is_known:
                seen.add(folder)
                yield folder, files
    for folder in map(Path, writes_in):
        with suppress(OSError):
            if folder not in seen and not folder.stat().st_mode & stat.S_ISVTX:
                seen.add(folder)
                yield folder, os.listdir(folder)  # noqa: PTH208 - names alone


def stamps_in(trees: Sequence[str], writes_in: Sequence[str], jobs: Path) -> dict[str, Stamp] | None:
    """Return the stamps of these directories and of all that is in them; None if there is too much."""
    found: dict[str, Stamp] = {}
    for folder, names in folders_in(trees, writes_in, jobs):
        if len(found) + len(names) >= _MOST_STAMPS:
            return None
        for path in (folder, *(folder / name for name in names)):
            with suppress(OSError):
                found[str(path)] = stamp_of(path.lstat())
    return found


def _is_on(folder: Path, top: Path) -> bool:
    with suppress(OSError):
        return folder.lstat().st_dev == top.stat().st_dev
    return False
