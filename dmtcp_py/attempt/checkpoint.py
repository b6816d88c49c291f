"""One checkpoint, from the request to the committed generation. Runs in a thread of its own beside the event loop."""

from __future__ import annotations

import os
import threading
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dmtcp_py.attempt.host import this_host
from dmtcp_py.attempt.named_files import changed, own_folders
from dmtcp_py.attempt.policy import INTERVAL
from dmtcp_py.attempt.stdio import size_written
from dmtcp_py.attempt.written import drawn
from dmtcp_py.errors import CheckpointFailedError, DmtcpRunError, StoreError
from dmtcp_py.messages import NORMAL, VERBOSE
from dmtcp_py.rollback import kept_code, written_files
from dmtcp_py.rollback.durable import WrittenFiles
from dmtcp_py.store.records import Cost, ImageFile, Manifest, path_text, utc_now
from dmtcp_py.system.files import free_bytes, why_not_room
from dmtcp_py.system.proc import resident_bytes
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.attempt.feed import Feed
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.attempt.start import Running
    from dmtcp_py.messages import Report
    from dmtcp_py.store.staged import StagedImages

STALL_S = 60.0
"""A checkpoint that has written nothing for this long hangs, unless an earlier one took longer."""
SYNC_STALL_S = 600.0
"""A file system that has not written a file of the program for this long hangs: some write all that they have first."""
_GROWTH = 1.2
_SPARE_BYTES = 16 << 20


class CheckpointDone(Struct, frozen=True):
    """The result of a checkpoint: a MANIFEST with NOTES for the user, or an ERROR and whether the program is alive."""

    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    error: DmtcpRunError | None = None
    program_lives: bool = True
    crash: BaseException | None = None


class CheckpointSubject(Struct, frozen=True, kw_only=True):
    """What a checkpoint is taken of, and what its manifest says besides."""

    plan: Plan
    report: Report
    running: Running
    parent: int | None
    """The generation before this one."""
    synced_part: str | None
    """The part of the journal that began with it, if it is of this computation: what was before is on the disk."""
    expected_bytes: int | None
    """The size of the images, as far as it can be told from the last ones."""
    longest_s: float
    """What the longest checkpoint took so far."""
    feed: Feed | None
    came_up_at: float
    """When the program came up, in monotonic seconds."""
    images_taken: Callable[[], None]
    """Called once the program runs on, or the attempt to take images has failed."""


def begin(
    subject: CheckpointSubject, reason: str, *, then_stop: bool, post: Callable[[CheckpointDone], None]
) -> threading.Thread:
    """Begin to take one checkpoint and commit it; return the thread that does, which POSTs the result and ends."""
    how = {"then_stop": then_stop, "post": post}
    thread = threading.Thread(target=_take_and_post, args=(subject, reason), kwargs=how, daemon=True)
    thread.start()
    return thread


def _take_and_post(
    subject: CheckpointSubject, reason: str, *, then_stop: bool, post: Callable[[CheckpointDone], None]
) -> None:
    """Post a result in any case: nothing is raised."""
    try:
        post(_take(subject, reason, then_stop=then_stop))
    except CheckpointFailedError as error:
        post(CheckpointDone(error=error, program_lives=error.program_lives))
    except DmtcpRunError as error:
        post(CheckpointDone(error=error, program_lives=not then_stop))
    except OSError as error:
        text = f"{error.filename or 'a file of the checkpoint'}: {error.strerror}"
        post(CheckpointDone(error=StoreError(text), program_lives=not then_stop))
    except BaseException as error:
        post(CheckpointDone(crash=error))


class CommitLines:
    """The lines about the generations of one computation. Those at the interval are alike, so the first has to do."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._has_said = False

    def committed(self, manifest: Manifest, interval_s: float | None) -> None:
        """Say that the generation of MANIFEST is committed and what it cost; of the first, how often more follow.

        INTERVAL_S is None if only the last one before the time limit follows.
        """
        cost, is_usual = manifest.cost, manifest.reason == INTERVAL
        more = "; the next one comes before the time limit"
        if interval_s is not None:
            more = f"; more follow silently, every {format_duration(interval_s)}"
        self._report.say(
            f"generation {manifest.generation} committed ({manifest.reason}, {format_size(manifest.size)}, "
            f"{format_duration(cost.checkpoint_s)} + {format_duration(cost.commit_s)})"
            + (more if is_usual and not self._has_said else ""),
            level=VERBOSE if is_usual and self._has_said and not self._report.as_json else NORMAL,
            event="checkpointed",
            generation=manifest.generation,
            size=manifest.size,
            checkpoint_s=cost.checkpoint_s,
        )
        self._has_said = self._has_said or is_usual


def _take(subject: CheckpointSubject, reason: str, *, then_stop: bool) -> CheckpointDone:
    store = subject.plan.store
    store.lock.check()
    _check_space(subject)
    began, stall_s = time.monotonic(), max(STALL_S, subject.longest_s)
    written = _written(subject)
    try:
        with (
            subject.feed.held() if subject.feed is not None else nullcontext() as stdin_bytes,
            drawn(subject.report, store.layout.staging, subject.expected_bytes),
        ):
            staged = subject.running.computation.checkpoint(then_stop=then_stop, timeout_s=stall_s)
    finally:
        subject.images_taken()
    checkpointed = time.monotonic()
    written.sync(staged.undo_part, within_s=max(SYNC_STALL_S, subject.longest_s))

    def describe(number: int, images: list[ImageFile]) -> Manifest:
        cost = Cost(checkpoint_s=checkpointed - began, commit_s=time.monotonic() - checkpointed)
        why = {"reason": reason, "program_stopped": then_stop, "stdin_bytes": stdin_bytes}
        return _manifest(subject, staged, generation=number, images=images, cost=cost, **why)

    manifest = store.commit(staged, describe)
    store.record(
        "checkpointed",
        generation=manifest.generation,
        lineage=manifest.lineage,
        reason=reason,
        size=manifest.size,
        ran_s=round(began - subject.came_up_at, 3),
        checkpoint_s=round(manifest.cost.checkpoint_s, 3),
        commit_s=round(time.monotonic() - checkpointed, 3),
        program_stopped=then_stop,
    )
    _keep_code(subject.plan, manifest)
    _remember(subject.plan, manifest, written)
    return CheckpointDone(manifest=manifest, notes=staged.notes)


def _keep_code(plan: Plan, manifest: Manifest) -> None:
    """Copy what the program of MANIFEST runs, where there is room for that besides the next images."""
    layout, folders = plan.store.layout, own_folders(plan.start.job, plan.program)
    spare_bytes = int(manifest.size * _GROWTH) + _SPARE_BYTES
    kept_code.keep(layout.generation(manifest.generation), layout.programs, folders, spare_bytes=spare_bytes)


def _remember(plan: Plan, manifest: Manifest, written: WrittenFiles) -> None:
    """Record which files the program has written; where that cannot be, the generation is as good without."""
    layout = plan.store.layout
    with suppress(OSError):
        written_files.remember(layout.undo, manifest, layout.generation(manifest.generation), written)


def _written(subject: CheckpointSubject) -> WrittenFiles:
    """Return the files that the program has written: they have to be on the disk before its images count."""
    plan = subject.plan
    root = None if plan.nodes else plan.store.layout.undo
    streams = (plan.stdio.stdout, plan.stdio.stderr)
    return WrittenFiles(subject.running.computation.pid, root, streams=streams, since=subject.synced_part)


def _manifest(subject: CheckpointSubject, staged: StagedImages, **fields: Any) -> Manifest:
    """Return the manifest of STAGED images of SUBJECT; FIELDS are those that neither of them knows."""
    plan, choice = subject.plan, subject.running.choice
    return Manifest(
        **fields,
        lineage=plan.start.job.lineage,
        epoch=plan.store.epoch,
        parent=subject.parent,
        created=utc_now(),
        engine=choice.engine.name,
        engine_version=choice.engine.version(),
        engine_reason=choice.reason,
        engine_way=staged.way,
        restart_images=list(staged.restart_images),
        staging=path_text(staged.folder),
        processes=staged.processes,
        host=this_host(),
        stdout_size=_size(plan.stdio.stdout, 1),
        stderr_size=_size(plan.stdio.stderr, 2),
        stdout_inode=_inode(1),
        stderr_inode=_inode(2),
        engine_data=staged.engine_data,
        undo_part=staged.undo_part,
        quirks=list(subject.running.quirks),
        updated_files=[path_text(path) for path in staged.updated_files],
        mapped_files=[path_text(path) for path in staged.mapped_files],
        changed_files=changed(plan.start.job.named_files),
        stamps={path_text(path): stamp for path, stamp in staged.stamps.items()},
    )


def _inode(fd: int) -> int | None:
    """Return which file our own stream is; None if it is closed."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None


def _check_space(subject: CheckpointSubject) -> None:
    """Refuse a checkpoint for which the disk has no room: under some engines a full disk kills the program."""
    needed = subject.expected_bytes or resident_bytes(subject.running.computation.pid)
    layout = subject.plan.store.layout
    for place in (layout.staging, layout.generations):
        free, wanted = free_bytes(place), int(needed * _GROWTH) + _SPARE_BYTES
        why = None if free < wanted else why_not_room(place, wanted)
        if free < wanted or why is not None:
            found = f"{format_size(free)} are free in {place.resolve()}" if why is None else f"{place.resolve()}: {why}"
            raise CheckpointFailedError(
                f"{found}, and the images take about {format_size(needed)}",
                "make room" + (", or run 'dmtcp-ctl prune --keep 1'" if len(layout.generation_numbers()) > 1 else ""),
                program_lives=True,
            )


def _size(path: Path | None, inherited_fd: int) -> int | None:
    """Return the size of the file behind a standard stream; None if it is no regular file."""
    if path is None:
        return size_written(inherited_fd)
    try:
        return path.stat().st_size
    except OSError:
        return None
