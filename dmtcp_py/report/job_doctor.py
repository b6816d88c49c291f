"""Whether a job can be resumed on this machine: what dmtcp-run looks at before it resumes it. Only reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt.fit import Level, compare, ok, problem, warning
from dmtcp_py.attempt.host import this_host
from dmtcp_py.attempt.moved import how_to_have_its_path
from dmtcp_py.attempt.named_files import notes_on_changed
from dmtcp_py.attempt.other_jobs import can_be_resumed, line_to_resume
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.engine.choice import engine_of
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.rollback import changed_files, kept_code, written_files
from dmtcp_py.rollback.journal import lost_in, problems_of, read_entries
from dmtcp_py.rollback.parts import numbers_of
from dmtcp_py.rollback.restore_held_files import BACK, look
from dmtcp_py.rollback.undo import ACCEPT
from dmtcp_py.store.lock import holding, is_running
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import read_state
from dmtcp_py.store.verify import verify
from dmtcp_py.system.files import free_bytes
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.attempt.fit import Finding
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest

_ROOM_FOR = 2
"""How many more images should fit on the disk: the next one, and one to spare."""


def examine_job(layout: JobLayout) -> list[Finding]:
    """Return whether the job of LAYOUT can be resumed here, from its newest generation that verifies, and how."""
    found, job = list(_findings(layout)), read_record(layout.job, Job)
    is_well = all(finding.level is not Level.PROBLEM for finding in found)
    if is_well and can_be_resumed(layout, job) and not is_running(layout):
        found.append(ok("resume", f"in {job.cwd}, type: {line_to_resume(layout, job)}"))
    return found


def _findings(layout: JobLayout) -> Iterator[Finding]:
    held = holding(layout)
    runs = held is not None and held.is_alive
    if held is not None and runs:
        stops = f"'dmtcp-ctl stop {layout.name}' checkpoints and stops it"
        go_on = f"'fg' in its shell or 'kill -CONT {held.record.pid}' has it go on; "
        yield warning("job", held.where, go_on + stops) if held.is_suspended else ok("job", held.where, stops)
    state = read_state(layout)
    if state is not None and state.phase == Kind.FINISHED.value:
        text = f"has finished with status {state.status}"
        yield ok("job", text, "the same line starts the program anew; --generation N resumes it")
    job, images = read_record(layout.job, Job), list(_images(layout, runs=runs))
    yield from (finding for finding, _ in images)
    manifest = next((found for _, found in images if found is not None), None)
    yield _directory(layout, job)
    if manifest is None:
        return
    yield _engine(manifest)
    yield from compare(manifest, this_host())
    if not runs:
        files = _files(layout, manifest)
        yield files
        edited = notes_on_changed(job.named_files, manifest.changed_files)
        # one that stops the resume is named already
        yield from (warning("program", note) for note in edited if note.partition(" has changed")[0] not in files.text)
    yield _space(layout, manifest)


def _images(layout: JobLayout, *, runs: bool) -> Iterator[tuple[Finding, Manifest | None]]:
    """Yield what is the matter with each generation, the newest first, until one is good."""
    numbers = layout.generation_numbers()
    if not numbers:
        none = ok("images", "there are none yet")
        yield (
            none if runs else problem("images", "there are none", "the same line starts the program again"),
            None,
        )
    for number in reversed(numbers):
        try:
            manifest = verify(layout, number)
        except DmtcpRunError as error:
            is_last = number == numbers[0]
            judged = problem if is_last else warning
            yield judged("images", error.what, "--fresh starts over" if is_last else "the one before is used"), None
            continue
        size, when = format_size(manifest.size), f"{manifest.created:%Y-%m-%d %H:%M} UTC"
        text = f"generation {number} of {when} ({size}) is what was committed"
        yield ok("images", text), manifest
        return


def _directory(layout: JobLayout, job: Job) -> Finding:
    about, folder = "directory", Path(job.cwd)
    if not folder.is_dir():
        hint = how_to_have_its_path(layout, job) or "mount it here, or resume where it is"
        return problem(about, f"{folder}, in which the program runs, is not here", hint)
    if not os.access(folder, os.W_OK | os.X_OK):
        return warning(about, f"{folder} cannot be written by you", f"ls -ld '{folder}' shows who can")
    return ok(about, f"{folder} is here")


def _engine(manifest: Manifest) -> Finding:
    about, made_by = "engine", f"{manifest.engine} {manifest.engine_version}"
    try:
        engine = engine_of(manifest)
    except DmtcpRunError as error:
        return problem(about, f"{made_by} made the images: {error.what}", error.hint)
    return ok(about, f"{made_by} made the images, and {engine.name} {engine.version()} is here")


def _files(layout: JobLayout, manifest: Manifest) -> Finding:
    """Return whether the files that the program changed since the images can be restored."""
    about, problems = "files", []
    try:
        changed_files.refuse(manifest)
    except DmtcpRunError as error:
        problems.append(error.what)
    if manifest.undo_part is not None:
        folders = [layout.undo / f"{n:06}" for n in numbers_of(layout.undo) if n >= int(manifest.undo_part)]
        problems += [text for folder in folders for text in lost_in(folder)]
        problems += problems_of([entry for folder in folders for entry in read_entries(folder)])
    images = layout.generation(manifest.generation)
    code = kept_code.copies(images, layout.programs)
    found = look(images, but=code, needs_same_size=manifest.engine == "criu")
    if lost := [change.text for change in found if not change.can_be_accepted]:
        return problem(about, lost[0], BACK)
    problems += [change.text for change in found if change.matters]
    if not problems and (left := written_files.look(layout.undo, manifest)) is not None:
        return warning(about, left)
    if not problems:
        return ok(about, "what the program changed since then can be restored")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problem(about, f"{problems[0]}{more}", ACCEPT)


def _space(layout: JobLayout, manifest: Manifest) -> Finding:
    about, free = "space", free_bytes(layout.root)
    text = f"{format_size(free)} are free in {layout.root.parent}, and an image has {format_size(manifest.size)}"
    took = format_duration(manifest.cost.checkpoint_s)
    if free < manifest.size:
        return problem(about, text, "free space: no checkpoint would be complete")
    if free < manifest.size * _ROOM_FOR:
        return warning(about, text, "free space, or 'dmtcp-ctl prune --keep 1'")
    return ok(about, f"{text} (a checkpoint took {took})")
