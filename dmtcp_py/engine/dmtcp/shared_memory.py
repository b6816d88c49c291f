"""Shared memory of a program (/dev/shm): in its images, and left behind on the node when it is killed.

At a restart DMTCP (5.0 says so, 4.2 and 3.2 do not) maps a segment that it finds by its name as it is, with what was
written into it after the checkpoint, in place of the one in the images: a wrong result with status 0. And a segment
that had no name any more it makes again with its name, and leaves it there.
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
    """Return what of ENGINE_DATA is node INDEX's."""
    value = engine_data.get(f"{_KEY}.{index}" if index else _KEY)
    return {} if value is None else {_KEY: value}


def for_node(recorded: Mapping[str, str], index: int) -> dict[str, str]:
    """Return what `recorded` gave on node INDEX under a name of its own."""
    return {f"{key}.{index}" if index else key: value for key, value in recorded.items()}


def recorded(pid: int) -> dict[str, str]:
    """Return what `clear` and `unname` want to know of a running program at its restart."""
    named, unnamed = shared_memory(pid)
    return {_KEY: json.dumps({"named": sorted(named), "unnamed": sorted(unnamed)})} if named or unnamed else {}


def clear(engine_data: Mapping[str, str]) -> None:
    """Remove what a killed run left of the segments, so that they come from the images.

    Raises RestartFailedError where a segment is in use, or somebody else's.
    """
    named, unnamed = _read(engine_data)
    for path in (*named, *unnamed):
        if not os.path.lexists(path):
            continue
        users = users_of(path)
        if users:
            raise RestartFailedError(
                f"its shared memory {path} is in use by process {users[0]}", "end that process, or wait for its end"
            )
        try:
            Path(path).unlink()
        except OSError as error:
            raise RestartFailedError(
                f"{path}, left over from the run before, cannot be removed: {error.strerror}", "remove it"
            ) from error
    for folder in {_own_folder(path) for path in named} - {None}:
        claim(Path(folder or ""))


def claim(folder: Path) -> None:
    """Make FOLDER, in which a program is to have its segments; raise EngineError where it cannot be ours."""
    try:
        claim_folder(folder)
    except OSError as error:
        raise EngineError(f"{folder} cannot be made: {error.strerror}", "remove it") from error


def unname(engine_data: Mapping[str, str]) -> None:
    """Take away the names of the segments that had none when the images were taken."""
    for path in _read(engine_data)[1]:
        with suppress(OSError):
            Path(path).unlink()


def _read(engine_data: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the segments with and without a name; of what a manifest says only plain names in /dev/shm count."""
    values = json.loads(engine_data.get(_KEY, "{}"))
    named, unnamed = (values.get(key, []) for key in ("named", "unnamed"))
    return [path for path in named if _is_segment(path)], [path for path in unnamed if _is_segment(path)]


def _own_folder(path: str) -> str | None:
    """Return the folder in /dev/shm in which the segment PATH is; DMTCP makes those below it, but not this one."""
    inner = path.removeprefix(SHARED_MEMORY)
    return SHARED_MEMORY + inner.partition("/")[0] if "/" in inner else None


def _is_segment(path: object) -> bool:
    return isinstance(path, str) and path.startswith(SHARED_MEMORY) and ".." not in path.split("/")
