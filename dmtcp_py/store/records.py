"""The records that lie on disk, and how they are read back.

Readers ignore fields that they do not know and refuse a format newer than theirs. Times are aware and UTC. The
format of each file is stated in docs/format.md.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec

from dmtcp_py.errors import NewerFormatError, StoreError

FORMAT = 1
"""The format that this release writes, and the newest that it reads."""


_FORMER_UNDO_PART = "undo"
"""Where manifests had `Manifest.undo_part` before it was a field."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is: ``job.json``, written once a lineage."""

    format: int = FORMAT
    lineage: int
    first_generation: int = 1
    command: list[str]
    cwd: str
    array_task: str | None = None
    stdin: str | None = None
    stdin_offset: int = 0
    stdin_unnamed: bool = False
    stdout: str | None = None
    stderr: str | None = None
    kept_in: str | None = None
    """The job's folder when the lineage began, as `path_text` writes it: whether it was moved or copied since."""
    created: datetime


class LockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the job, or held it last: ``lock``. Its mtime is the holder's heartbeat."""

    epoch: int
    host: str
    pid: int
    pid_started: float = 0.0
    boot_id: str
    scheduler_job: str | None = None
    scheduler_restarts: int = 0
    """How often the scheduler had requeued that job before."""
    released: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest attempt does, or how it ended: ``state.json``."""

    format: int = FORMAT
    lineage: int
    epoch: int
    phase: str
    status: int | None = None
    started: datetime
    updated: datetime
    engine: str | None = None
    resumed_from: int | None = None
    next_checkpoint: datetime | None = None
    processes: list[tuple[int, float]] = []
    ends: datetime | None = None
    """When the allocation ends."""
    origin: str | None = None
    """The scheduler's job in which the chain of requeues and resubmissions began."""
    run: str | None = None
    """Which start of which of its jobs this is."""
    follows: str | None = None
    """What follows the end of the attempt in a batch job: ``requeue``, ``resubmit``, or why nothing does."""
    next_job: str | None = None
    """The job that was submitted to go on."""


class ImageFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a generation."""

    name: str
    size: int
    xxh3_128: str


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint cost, in seconds."""

    checkpoint_s: float
    commit_s: float = 0.0


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine on which the images were taken."""

    name: str
    kernel: str
    machine: str
    libc: str
    cpu_flags: list[str] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation is: ``manifest.json``. A generation that has one is complete."""

    format: int = FORMAT
    generation: int
    lineage: int
    epoch: int
    parent: int | None = None
    created: datetime
    reason: str
    program_stopped: bool
    engine: str
    engine_version: str
    engine_reason: str = ""
    """Why it was this engine."""
    images: list[ImageFile]
    restart_images: list[str]
    staging: str = ""
    """Where the engine wrote the images: they may refer to each other by that path."""
    processes: int
    host: Host
    cost: Cost
    stdout_size: int | None = None
    stderr_size: int | None = None
    engine_data: dict[str, str] = {}
    """What the engine wants to know again at the restart."""
    undo_part: str | None = None
    """The part of the journal of changed files that began with this generation; None if nothing was recorded."""
    quirks: list[str] = []
    """What the program was launched with so that it works, each with its reason."""
    updated_files: list[str] = []
    """Files that the program held open for reading and writing: what is overwritten in them cannot be brought back."""
    mapped_files: list[str] = []
    """Those of them that it writes as memory: their times do not tell whether it did."""

    @property
    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(image.size for image in self.images)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What dmtcp-ctl asks of a running attempt, and the answer once there is one."""

    action: str
    asked_by: str
    asked: datetime
    answer: str | None = None
    ok: bool | None = None
    generation: int | None = None


RecordT = TypeVar("RecordT", Job, LockRecord, State, Manifest, Request)


def utc_now() -> datetime:
    """Return the time to write into records."""
    return datetime.now(timezone.utc)


def path_text(path: Path | str) -> str:
    """Return PATH as text that any record can hold: a name may have bytes that are no text."""
    return quote(os.fsencode(path), safe="/ ~!@#$^&*()_+-={}[]|:;,.<>?")


def path_of(text: str) -> Path:
    """Return the path that `path_text` wrote."""
    return Path(os.fsdecode(unquote_to_bytes(text)))


def encode(record: msgspec.Struct) -> bytes:
    """Return RECORD as JSON for people: one field a line."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def plain(record: msgspec.Struct) -> dict[str, Any]:
    """Return RECORD as plain values, as ``--json`` prints them."""
    values: dict[str, Any] = msgspec.to_builtins(record)
    return values


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Return the record of KIND in PATH.

    Raises FileNotFoundError where there is none, StoreError where it cannot be read, is not JSON, lacks a field, or
    has a newer format.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", "look at its owner and permissions") from error
    return decode(data, kind, path)


def decode(data: bytes, kind: type[RecordT], path: Path) -> RecordT:
    """Return the record of KIND that DATA, read from PATH, holds; see `read_record` for the errors."""
    try:
        found = msgspec.json.decode(data)
        newest = found.get("format", FORMAT) if isinstance(found, dict) else FORMAT
        if isinstance(newest, int) and newest > FORMAT:
            raise NewerFormatError(
                f"{path} has format {newest}, written by a newer dmtcp-py; this one reads up to {FORMAT}",
                "use the newer dmtcp-py, or another --dir",
            )
        record = msgspec.convert(found, kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        hint = (
            "an older generation can be chosen with --generation N; see dmtcp-ctl list"
            if kind is Manifest
            else "mend it, or move the job's folder away to start over"
        )
        raise StoreError(f"{path} is damaged: {error}", hint) from error
    if isinstance(record, Manifest):
        _check_names(record, path)
        if record.undo_part is None and _FORMER_UNDO_PART in record.engine_data:
            return msgspec.structs.replace(record, undo_part=record.engine_data[_FORMER_UNDO_PART])
    return record


def _check_names(manifest: Manifest, path: Path) -> None:
    """Refuse names that would lead out of the generation's folder, and sets that cannot be restarted."""
    names = {image.name for image in manifest.images}
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name or str(PurePosixPath(name)) != name:
            raise StoreError(f"{path} names a file outside its generation: {name!r}", "do not use this generation")
    if not manifest.restart_images or not names.issuperset(manifest.restart_images):
        raise StoreError(f"{path} does not list the images to restart", "do not use this generation")
