"""One checkpoint, from the request to the committed generation. Runs in a thread of its own beside the event loop."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.host import this_host
from dmtcp_py.errors import CheckpointFailedError, DmtcpRunError
from dmtcp_py.store.records import Cost, ImageFile, Manifest, path_text, utc_now
from dmtcp_py.system.files import free_bytes
from dmtcp_py.system.proc import resident_bytes
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.attempt.feed import Feed
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.attempt.start import Running
    from dmtcp_py.messages import Report
    from dmtcp_py.store.staged import StagedImages

STALL_S = 60.0
"""A checkpoint that has written nothing for this long hangs."""
_GROWTH = 1.2
_SPARE_BYTES = 16 << 20


@dataclass(frozen=True)
class CheckpointDone:
    """The result of a checkpoint: a MANIFEST with NOTES for the user, or an ERROR and whether the program is alive."""

    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    error: DmtcpRunError | None = None
    program_lives: bool = True
    crash: BaseException | None = None


@dataclass(frozen=True, kw_only=True)
class CheckpointSubject:
    """What a checkpoint is taken of, and what its manifest says besides."""

    plan: Plan
    running: Running
    parent: int | None
    """The generation before this one."""
    expected_bytes: int | None
    """The size of the images, as far as it can be told from the last ones."""
    feed: Feed | None
    came_up_at: float
    """When the program came up, in monotonic seconds."""


def take(subject: CheckpointSubject, reason: str, *, then_stop: bool, post: Callable[[CheckpointDone], None]) -> None:
    """Take one checkpoint, commit it and POST the result; nothing is raised."""
    try:
        post(_take(subject, reason, then_stop=then_stop))
    except CheckpointFailedError as error:
        post(CheckpointDone(error=error, program_lives=error.program_lives))
    except DmtcpRunError as error:
        post(CheckpointDone(error=error, program_lives=not then_stop))
    except BaseException as error:
        post(CheckpointDone(crash=error))


def say_committed(manifest: Manifest, report: Report) -> None:
    """Say that the generation of MANIFEST is committed, and what it cost."""
    cost = manifest.cost
    report.say(
        f"generation {manifest.generation} committed ({manifest.reason}, {format_size(manifest.size)}, "
        f"{format_duration(cost.checkpoint_s)} + {format_duration(cost.commit_s)})",
        event="checkpointed",
        generation=manifest.generation,
        size=manifest.size,
        checkpoint_s=cost.checkpoint_s,
    )


def _take(subject: CheckpointSubject, reason: str, *, then_stop: bool) -> CheckpointDone:
    store = subject.plan.store
    store.lock.check()
    _check_space(subject)
    began = time.monotonic()
    with subject.feed.held() if subject.feed is not None else nullcontext() as stdin_bytes:
        staged = subject.running.computation.checkpoint(then_stop=then_stop, timeout_s=STALL_S)
    checkpointed = time.monotonic()

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
    return CheckpointDone(manifest=manifest, notes=staged.notes)


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
        engine_data=staged.engine_data,
        undo_part=staged.undo_part,
        quirks=list(subject.running.quirks),
        updated_files=[path_text(path) for path in staged.updated_files],
        mapped_files=[path_text(path) for path in staged.mapped_files],
    )


def _check_space(subject: CheckpointSubject) -> None:
    """Refuse a checkpoint for which the disk has no room: under some engines a full disk kills the program."""
    needed = subject.expected_bytes or resident_bytes(subject.running.computation.pid)
    layout = subject.plan.store.layout
    for place in (layout.staging, layout.generations):
        free = free_bytes(place)
        if free < needed * _GROWTH + _SPARE_BYTES:
            raise CheckpointFailedError(
                f"{format_size(free)} are free in {place.resolve()} and the images take about {format_size(needed)}",
                "make room" + (", or run 'dmtcp-ctl prune --keep 1'" if len(layout.generation_numbers()) > 1 else ""),
                program_lives=True,
            )


def _size(path: Path | None, inherited_fd: int) -> int | None:
    """Return the size of the file behind a standard stream; None if it is no regular file."""
    try:
        if path is not None:
            return path.stat().st_size
        found = os.fstat(inherited_fd)
    except OSError:
        return None
    return found.st_size if Path(f"/proc/self/fd/{inherited_fd}").is_file() else None
