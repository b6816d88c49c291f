"""The images that a checkpoint writes: their size so far, and whether all are complete."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dmtcp_py.engine.dmtcp import audit
from dmtcp_py.errors import CheckpointFailedError, EngineError
from dmtcp_py.state import record
from dmtcp_py.store.staged import StagedImages, stage
from dmtcp_py.system.files import size_below
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dmtcp_py.engine.dmtcp.workspace import Workspace

FAIL_KEY = "fail_status"
_PROCESSES = r"(?m)^# Number of processes in the computation = (\d+)$"
_VISIBLE_S = 120.0
"""The longest that a shared file system may take until one node sees what another has written."""
_POLL_S = 0.25


def bytes_written(workspace: Workspace) -> int:
    """Return the size of all images so far; the other nodes are asked, as each sees its own images first."""
    nodes = workspace.nodes
    if nodes is None:
        return size_below(workspace.staging)
    found = size_below(workspace.image_folder(0))
    with suppress(EngineError):
        found += sum(
            nodes.ask(index, "size", folder=str(workspace.image_folder(index)))["size"]
            for index in range(1, nodes.count)
        )
    return found


def collect(workspace: Workspace, peers: int, updated: Iterable[str], *, program_lives: bool) -> StagedImages:
    """Return the images of PEERS processes; UPDATED are files that could not be copied.

    Raises CheckpointFailedError if an image is missing or unfinished.
    """
    _gather(workspace)
    folders = [workspace.image_folder(index) for index in range(workspace.count)]
    images = sorted(str(path.relative_to(workspace.staging)) for folder in folders for path in folder.glob("*.dmtcp"))
    unfinished = [path.name for path in workspace.staging.rglob("*.temp")]
    expected = _expected(workspace.staging, peers)
    if unfinished or not images or len(images) != expected:
        raise CheckpointFailedError(
            f"{len(images)} of {expected} images are complete, {len(unfinished)} unfinished",
            program_lives=program_lives,
        )
    for path in workspace.staging.iterdir():
        if path.suffix == ".sh":
            path.unlink()
    record.write(workspace.staging, audit.recorded(workspace.folder))
    staged = stage(workspace.staging, images, len(images), updated_files=tuple(updated))
    return replace(staged, engine_data={FAIL_KEY: str(workspace.fail_status)})


def _gather(workspace: Workspace) -> None:
    """Wait until the images of the other nodes are on the shared disk and visible on this node."""
    if (nodes := workspace.nodes) is None:
        return
    for index in range(1, nodes.count):
        folder = workspace.image_folder(index)
        files = nodes.ask(index, "sync", folder=str(folder))["files"]
        timeout = Timeout(_VISIBLE_S)
        while missing := [name for name, size in files.items() if _size_or_none(folder / name) != size]:
            if timeout.is_over():
                raise CheckpointFailedError(
                    f"images that node {index} wrote are not visible on this node: {', '.join(missing)}",
                    "use a job directory on a file system that all nodes share",
                    program_lives=workspace.coordinator.is_alive(),
                )
            time.sleep(_POLL_S)


def _expected(staging: Path, peers: int) -> int:
    """Return how many images the coordinator's restart script lists; PEERS if it wrote no script."""
    scripts = [path for path in staging.glob("dmtcp_restart_script*.sh") if not path.is_symlink()]
    if len(scripts) != 1:
        return peers
    found = re.search(_PROCESSES, scripts[0].read_text(encoding="utf-8", errors="replace"))
    return int(found[1]) if found else peers


def _size_or_none(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
