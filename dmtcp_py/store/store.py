"""The directory of a job while an attempt holds it: lineages, generations, state and history.

Knows no engine, and reads no clock except to stamp records. A commit moves the images into ``NNNNNN.partial`` and
fsyncs them, writes and fsyncs the manifest, renames the directory, and fsyncs its parent. A generation without its
final name is never read.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import DmtcpRunError, FencedError, NewerFormatError, StoreError
from dmtcp_py.store.history import numbers_in_history
from dmtcp_py.store.layout import manifest_path
from dmtcp_py.store.lock import acquire
from dmtcp_py.store.mirrored import mirror_states
from dmtcp_py.store.records import ImageFile, Job, Manifest, State, encode, json_of, read_record, utc_now
from dmtcp_py.store.retention import Generation, Verdict, plan
from dmtcp_py.store.verify import hash_file, read_manifest
from dmtcp_py.system.files import (
    append_lines,
    free_bytes,
    fsync_folders,
    fsync_path,
    make_private_dir,
    move_file,
    remove_tree,
    write_atomic,
)
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding, JobLock
    from dmtcp_py.store.records import BatchRun
    from dmtcp_py.store.staged import StagedImages

_LIVING = ("running", "held")
"""The phases of an attempt that has not come to its end."""
_LEAST_FREE_BYTES = 1 << 20
_README = """\
dmtcp-run keeps its jobs here: one directory for each job, with the images from which it resumes the program.
'dmtcp-ctl --dir THIS-DIRECTORY status' and 'list' show them. To delete a job: 'dmtcp-ctl remove'.
Restoring an image runs the code in it: do not let other users write here.
"""


class Store:
    """The directory of a job that this attempt holds; BEFORE is the previous holder, and WARN reports warnings."""

    def __init__(self, layout: JobLayout, lock: JobLock, before: Holding | None, warn: Callable[[str], None]) -> None:
        self.layout = layout
        self.lock = lock
        self.before = before
        self._warn = warn
        self._warned: set[str] = set()
        self._stagings = 0
        self._last_number = _last_number(layout)

    @property
    def epoch(self) -> int:
        """The number of this attempt."""
        return self.lock.record.epoch

    @property
    def next_number(self) -> int:
        """The number of the next generation."""
        return self._last_number + 1

    def outrank(self, epoch: int) -> None:
        """Go on after what was fetched from a mirror, whose last attempt had EPOCH."""
        self.lock.outrank(epoch)
        self._last_number = _last_number(self.layout)

    def make_staging(self) -> Path:
        """Create a directory for the images of one computation. Its path is never used twice."""
        self._stagings += 1
        folder = self.layout.staging / f"{self.epoch:06}-{self._stagings}"
        with _writing(folder):
            make_private_dir(folder)
        return folder

    def clear(self) -> None:
        """Remove what this attempt left unfinished: images not committed, files being sealed. What cannot be stays."""
        with suppress(OSError, DmtcpRunError):
            self.lock.check()
            for leftover in [*self.layout.staging.glob(f"{self.epoch:06}-*"), *self.layout.left_of_sealing()]:
                remove_tree(leftover)

    def clean(self, staging: Path | None = None) -> None:
        """Remove unfinished work of earlier attempts, and prepare the directory for images (in STAGING, if given)."""
        with _writing(self.layout.root):
            for leftover in [*self.layout.partials(), self.layout.staging, *self.layout.left_of_sealing()]:
                remove_tree(leftover)
            for folder in (self.layout.generations, self.layout.requests):
                make_private_dir(folder)
            if staging is None:
                make_private_dir(self.layout.staging)
            else:
                # images only contain the path in the job's directory, which is the same on every node
                self.layout.staging.symlink_to(staging)

    def job(self) -> Job | None:
        """Return the record of the job; None before its first lineage."""
        try:
            return read_record(self.layout.job, Job)
        except FileNotFoundError:
            return None

    def state(self) -> State | None:
        """Return the state of the newest attempt; None if it cannot be read."""
        return read_state(self.layout)

    def lost(self, first: int) -> list[int]:
        """Return the generations from FIRST on that were committed and not pruned, but do not exist any more."""
        pruned = numbers_in_history(self.layout, "pruned", "generation")
        present = self.layout.generation_numbers()
        committed = numbers_in_history(self.layout, "checkpointed", "generation")
        return sorted(number for number in {*committed} - {*pruned} - {*present} if number >= first)

    def write_job(self, job: Job) -> None:
        """Begin a lineage by writing its record."""
        with _writing(self.layout.job):
            write_atomic(self.layout.job, encode(job))

    def write_state(self, state: State, *, durable: bool) -> None:
        """Record what this attempt is doing; DURABLE if a later attempt relies on it.

        If the file cannot be written, this only warns: the program must not end because of that. Raises FencedError.
        """
        with self._warning_of(self.layout.state):
            self.lock.check()
            write_atomic(self.layout.state, encode(state), durable=durable)

    def record_continuation(self, what: str, *, why: str, next_job: str | None = None) -> None:
        """Record WHAT follows the end of this attempt and WHY; NEXT_JOB is the batch job that was submitted for it."""
        state = self.state()
        if state is not None and state.epoch == self.epoch:
            self.write_state(msgspec.structs.replace(state, follows=what, next_job=next_job), durable=True)
        self.record("follows", what=what, why=why, next_job=next_job)

    def record(self, event: str, **values: object) -> None:
        """Append a line to the history; if it cannot be written, only warn, as in `write_state`."""
        self._append([self._line(event, values)])

    def _line(self, event: str, values: dict[str, object]) -> bytes:
        return json_of({"time": utc_now(), "event": event, "epoch": self.epoch, **values})

    def _append(self, lines: Sequence[bytes], *, durable: bool = True) -> None:
        with self._warning_of(self.layout.history):
            append_lines(self.layout.history, lines, durable=durable)

    def commit(self, staged: StagedImages, describe: Callable[[int, list[ImageFile]], Manifest]) -> Manifest:
        """Commit the images STAGED as a generation; DESCRIBE returns its manifest from its number and files.

        When this returns, the generation is on disk. Raises FencedError, and StoreError if the generation cannot be
        written; earlier generations are not changed then.
        """
        self.lock.check()
        number = self.next_number
        partial = self.layout.partial(number)
        try:
            remove_tree(partial)
            make_private_dir(partial)
            images = [_move(staged.folder / name, partial, name) for name in staged.files]
            fsync_folders(partial, staged.files)
            manifest = describe(number, images)
            write_atomic(manifest_path(partial), encode(manifest))
            self.lock.check()
            partial.rename(self.layout.generation(number))
            self._last_number = number
            fsync_path(self.layout.generations)
        except OSError as error:
            remove_tree(partial)
            raise StoreError(
                f"generation {number} could not be committed to {self.layout.generations}: {error.strerror or error}",
                "free space there or choose another --dir; earlier generations are not affected",
            ) from error
        return manifest

    def prune(self, *, keep: int, lineage: int) -> list[Verdict]:
        """Remove the generations that the retention plan does not keep; return the whole plan."""
        verdicts = retention_plan(self.layout, keep=keep, lineage=lineage)
        self.remove([verdict for verdict in verdicts if not verdict.keep])
        return verdicts

    def remove(self, verdicts: Sequence[Verdict]) -> None:
        """Remove generations, each for the rule in its verdict."""
        for doomed in self.take_out(verdicts):
            with self._warning_of(doomed):
                remove_tree(doomed)

    def take_out(self, verdicts: Sequence[Verdict], *, durable: bool = True) -> list[Path]:
        """Record that generations are removed and take their names from them; return the directories left to remove.

        They have the names of partial generations, which are never read and which the next attempt removes: a crash
        leaves no incomplete generation. Unless DURABLE, the caller fsyncs the history before it removes them.
        """
        if verdicts:
            lines = [self._line("pruned", {"generation": one.number, "rule": one.rule}) for one in verdicts]
            self._append(lines, durable=durable)
        doomed = []
        for verdict in verdicts:
            partial = self.layout.partial(verdict.number)
            with self._warning_of(partial):
                self.layout.generation(verdict.number).rename(partial)
                doomed.append(partial)
        return doomed

    @contextmanager
    def _warning_of(self, path: Path) -> Iterator[None]:
        """Turn an OSError or a StoreError into a warning that is printed once for each text; not a FencedError."""
        try:
            yield
        except FencedError:
            raise
        except (OSError, StoreError) as error:
            why = error.strerror if isinstance(error, OSError) else error.what
            text = f"{path} cannot be written: {why}; free space there or fix its permissions"
            if text not in self._warned:
                self._warned.add(text)
                self._warn(text)


def open_store(layout: JobLayout, *, batch: BatchRun, say: Callable[[str], None], warn: Callable[[str], None]) -> Store:
    """Create the directory of a job if it does not exist, and acquire its lock.

    BATCH is the batch job around us. SAY and WARN report messages and warnings. Raises LockedError if another attempt
    holds the job, and StoreError if the directory cannot be used.
    """
    directory = layout.root.parent
    _refuse_full(directory)
    with _writing(directory):
        if make_private_dir(directory):
            write_atomic(directory / "README", _README.encode(), durable=False)
        make_private_dir(layout.root)
        least_epoch = max(numbers_in_history(layout, None, "epoch"), default=0)
        lock, before = acquire(layout, least_epoch=least_epoch, batch=batch, say=say)
    store = Store(layout, lock, before, warn)
    if before is not None and not before.record.released and not _had_ended(store.state(), before.record.epoch):
        store.record("killed", attempt=before.record.epoch, last_seen=before.heartbeat)
    return store


def _had_ended(state: State | None, epoch: int) -> bool:
    """Whether the attempt of EPOCH had come to its end when it was killed, as by a scheduler that requeued its job."""
    return state is not None and state.epoch == epoch and state.phase not in _LIVING


def _refuse_full(directory: Path) -> None:
    """Raise StoreError, before anything is created, if the file system has no space even for the records of a job."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = free_bytes(existing)
    if free < _LEAST_FREE_BYTES:
        raise StoreError(f"only {format_size(free)} are free in {existing}", "free space there or choose another --dir")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or path} cannot be used: {error.strerror}",
            "choose a directory that you may write to with --dir or DMTCP_RUN_DIR",
        ) from error


def read_state(layout: JobLayout) -> State | None:
    """Return the state that the newest attempt recorded; None if it cannot be read. Raises NewerFormatError."""
    try:
        return read_record(layout.state, State)
    except NewerFormatError:
        raise
    except (FileNotFoundError, StoreError):
        # it is not fsynced every time, so a crash of the machine may leave it empty
        return None


def retention_plan(layout: JobLayout, *, keep: int, lineage: int) -> list[Verdict]:
    """Return the plan that pruning carries out.

    Of generations that are older than KEEP intact ones of LINEAGE, only those from which a restart succeeded are read:
    nothing else in them matters any more.
    """
    proved = numbers_in_history(layout, "resumed", "generation")
    generations: list[Generation] = []
    intact = 0
    for number in reversed(layout.generation_numbers()):
        is_read = intact < max(keep, 1) or number in proved
        generations.append(Generation(number, _lineage_of(layout, number) if is_read else lineage))
        intact += generations[-1].lineage == lineage
    copied = {state.copying for state in mirror_states(layout) if state.copying is not None}
    return plan(generations, keep=keep, lineage=lineage, proved=proved, copied=copied)


def _last_number(layout: JobLayout) -> int:
    return max([0, *layout.generation_numbers(), *numbers_in_history(layout, "checkpointed", "generation")])


def _move(source: Path, partial: Path, name: str) -> ImageFile:
    target = partial / name
    if not target.parent.is_dir():
        target.parent.mkdir(mode=0o700, parents=True)
    move_file(source, target)
    target.chmod(0o600)
    fsync_path(target)
    return ImageFile(name=name, size=target.stat().st_size, xxh3_128=hash_file(target))


def _lineage_of(layout: JobLayout, number: int) -> int | None:
    try:
        return read_manifest(layout, number).lineage
    except StoreError:
        return None
