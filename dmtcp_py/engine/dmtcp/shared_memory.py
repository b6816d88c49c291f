"""A program's shared memory (/dev/shm): it is in the images, and is also left on the node when the program is killed.

If a segment of that name exists at a restart, DMTCP maps it with all that was written after the checkpoint, instead of
the one in the images: a wrong result with status 0 (5.0 logs it, 4.2 and 3.2 do not). A segment that was unlinked while
in use is recreated under its name, and left there.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError, RestartFailedError
from dmtcp_py.system.files import claim_folder
from dmtcp_py.system.proc import SHARED_MEMORY, shared_memory, users_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = "shared_memory"


def of_node(engine_data: Mapping[str, str], index: int) -> dict[str, str]:
    """Return the part of ENGINE_DATA that belongs to node INDEX."""
    value = engine_data.get(f"{_KEY}.{index}" if index else _KEY)
    return {} if value is None else {_KEY: value}


def for_node(recorded: Mapping[str, str], index: int) -> dict[str, str]:
    """Return RECORDED, the result of `record` on node INDEX, with a key that belongs to the node."""
    return {f"{key}.{index}" if index else key: value for key, value in recorded.items()}


def record(pid: int) -> dict[str, str]:
    """Return the shared memory of a running program, as engine data for `clear` and `unname` at its restart."""
    named, unnamed = shared_memory(pid)
    return {_KEY: json.dumps({"named": sorted(named), "unnamed": sorted(unnamed)})} if named or unnamed else {}


def clear(engine_data: Mapping[str, str]) -> None:
    """Remove the segments that a killed run left, so that DMTCP restores them from the images.

    Raises RestartFailedError if a segment is in use, or cannot be removed.
    """
    named, unnamed = _read(engine_data)
    for path in (*named, *unnamed):
        if not os.path.lexists(path):
            continue
        users = users_of(path)
        if users:
            raise RestartFailedError(
                f"the program's shared memory {path} is in use by process {users[0]}",
                "end that process, or wait until it ends",
            )
        try:
            Path(path).unlink()
        except OSError as error:
            raise RestartFailedError(
                f"{path}, left over from the previous run, cannot be removed: {error.strerror}", "remove it"
            ) from error
    for folder in {_own_folder(path) for path in named} - {None}:
        claim(Path(folder or ""))


def claim(folder: Path) -> None:
    """Make FOLDER for a program's segments, private to this user; raise EngineError if that fails."""
    try:
        claim_folder(folder)
    except OSError as error:
        raise EngineError(f"{folder} cannot be made: {error.strerror}", "remove it") from error


def unname(engine_data: Mapping[str, str]) -> None:
    """Unlink the segments that were unlinked at the checkpoint, to which the restart gave names."""
    for path in _read(engine_data)[1]:
        with suppress(OSError):
            Path(path).unlink()


def _read(engine_data: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the segments with and without a name; entries of a manifest that are no plain names count for nothing."""
    values = json.loads(engine_data.get(_KEY, "{}"))
    named, unnamed = (values.get(key, []) for key in ("named", "unnamed"))
    return [path for path in named if _is_segment(path)], [path for path in unnamed if _is_segment(path)]


def _own_folder(path: str) -> str | None:
    """Return the top folder in /dev/shm in which segment PATH is, if any; DMTCP creates only the folders below it."""
    inner = path.removeprefix(SHARED_MEMORY)
    return SHARED_MEMORY + inner.partition("/")[0] if "/" in inner else None


def _is_segment(path: object) -> bool:
    return isinstance(path, str) and path.startswith(SHARED_MEMORY) and ".." not in path.split("/")
