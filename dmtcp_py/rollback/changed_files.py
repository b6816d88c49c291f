"""Files that changed since a generation was taken and that no record brings back: a refusal, or a note."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.errors import FilesChangedError
from dmtcp_py.rollback.journal import MOST_KEPT_TEXT
from dmtcp_py.rollback.recording import not_kept
from dmtcp_py.rollback.undo import ACCEPT
from dmtcp_py.store.records import path_of, path_text
from dmtcp_py.system.stamps import differs

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    updated = [path for path in map(path_of, manifest.updated_files) if _may_differ(path, manifest)]
    # what the program did to these as memory may not be seen in their times
    changed = sorted({str(path) for path in [*updated, *map(path_of, manifest.mapped_files)]})
    if changed:
        notes.append(
            f"changed since generation {manifest.generation} was taken, and not brought back: {', '.join(changed)}; "
            "if the program reads there what it wrote, its result may differ"
        )
    return notes


def notes_at_checkpoint(
    updated: Sequence[str], mapped: Sequence[str], root: Path | None, begun: str | None
) -> list[str]:
    """Return which files no resume after a crash could restore, as warnings while nothing is lost yet.

    UPDATED and MAPPED are those of which the images hold no copy. ROOT is the folder of the journal, None if there is
    none, and BEGUN its part that began with the images: what could not be kept in the part before shows what will be.
    """
    notes = [
        f"{path}, which the program writes as memory, is too large to copy: after a crash the job resumes only with "
        "--accept-changed-files, unless it stopped at a checkpoint"
        for path in mapped
    ]
    notes += [
        f"{path}, which the program has open for reading and writing, is too large to copy: if it changes after a "
        "checkpoint, the job resumes after a crash only with --accept-changed-files"
        for path in updated
        if path not in mapped
    ]
    if root is not None and begun is not None:
        notes += [
            f"{path} was changed by the program, and what it held before could not be kept ({MOST_KEPT_TEXT}): if it "
            "changes so after a checkpoint, the job resumes after a crash only with --accept-changed-files"
            for path in not_kept(root, begun)
        ]
    return notes


def refuse(manifest: Manifest) -> None:
    """Raise FilesChangedError where a file changed that the program may read back, and of which there is no copy."""
    for path in map(path_of, manifest.updated_files):
        if _may_differ(path, manifest):
            raise FilesChangedError(
                f"{path}, which the program had open for reading and writing, changed since then, and was too large "
                "to copy",
                ACCEPT,
            )
    for path in map(path_of, manifest.mapped_files):
        if manifest.program_stopped and not _may_differ(path, manifest):
            continue
        raise FilesChangedError(
            f"{path}, which the program writes as memory, may have changed since then, and was too large to copy",
            ACCEPT,
        )


def _may_differ(path: Path, manifest: Manifest) -> bool:
    """Whether the file changed after the image: by a program that went on, or a later life of one that was stopped."""
    stamp = manifest.stamps.get(path_text(path))
    try:
        found = path.stat()
    except OSError:
        return True
    return found.st_mtime > _taken_s(manifest) if stamp is None else differs(found, stamp)


def _taken_s(manifest: Manifest) -> float:
    """Return when nothing ran any more, in seconds since the epoch."""
    since = manifest.created.timestamp()
    return since if manifest.program_stopped else since - manifest.cost.checkpoint_s - manifest.cost.commit_s
