"""Files that changed since a generation was taken and that no record brings back: a refusal, or a note."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.errors import RestartFailedError
from dmtcp_py.rollback.undo import ACCEPT
from dmtcp_py.store.records import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.store.records import Manifest


def notes(manifest: Manifest) -> list[str]:
    """Return what about the program's files is not as it was; call it before the program runs on."""
    if manifest.program_stopped:
        return []
    notes = []
    if manifest.undo_part is None:
        notes.append(
            "what the program did to files by name since then will be repeated: it was not recorded, because the "
            "program ran on several nodes or under a plug-in engine, or dmtcp-run was installed without a C compiler"
        )
    changed = [str(path) for path in map(path_of, manifest.updated_files) if _is_newer(path, manifest)]
    if changed:
        notes.append(
            f"changed since generation {manifest.generation} was taken, and not brought back: {', '.join(changed)}; "
            "if the program reads there what it wrote, its result may differ"
        )
    return notes


def refuse(manifest: Manifest) -> None:
    """Raise RestartFailedError where a file changed that the program may read back, and of which there is no copy."""
    for path in map(path_of, manifest.updated_files):
        if _is_newer(path, manifest):
            raise RestartFailedError(
                f"{path}, which the program had open for reading and writing, changed since then, and was too large "
                f"to copy; {ACCEPT}"
            )
    for path in map(path_of, manifest.mapped_files):
        if manifest.program_stopped and not _is_newer(path, manifest):
            continue
        raise RestartFailedError(
            f"{path}, which the program writes as memory, may have changed since then, and was too large to copy; "
            f"{ACCEPT}"
        )


def _is_newer(path: Path, manifest: Manifest) -> bool:
    """Whether the file changed after the image: by a program that went on, or a later life of one that was stopped."""
    since = manifest.created.timestamp()
    if not manifest.program_stopped:
        since -= manifest.cost.checkpoint_s + manifest.cost.commit_s
    try:
        return path.stat().st_mtime > since
    except OSError:
        return True
