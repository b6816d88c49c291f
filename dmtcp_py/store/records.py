"""The records on disk, and how they are read and written.

Readers ignore unknown fields and refuse a newer format. Times are aware and UTC. docs/format.md describes each file.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec
import xxhash

from dmtcp_py.errors import StoreError
from dmtcp_py.store.decoding import FORMAT, USE_NEWER, decoded, stays_below
from dmtcp_py.system.stamps import Stamp  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable

_ANOTHER = "choose another one with --generation N ('dmtcp-ctl list' shows them), or start over with --fresh"
_FORMER_UNDO_PART = "undo"
"""Key of ``engine_data`` in which older manifests have what is now `Manifest.undo_part`."""


class NamedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the command line names, as it was when the lineage began."""

    path: str
    size: int
    changed_ns: int
    """The time of its last change, in nanoseconds since the epoch."""
    xxh3_128: str
    """The hash of its content; empty for a large one."""
    is_code: bool
    """Whether it is the program or its script."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The command of a job, its directory and its files: ``job.json``, written once a lineage."""

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
    """The job's directory when the lineage began, written by `path_text`; shows if it was moved or copied since."""
    named_files: list[NamedFile] = []
    options: list[str] | None = None
    """The words before the program on the line that began the lineage; None if that is not known."""
    created: datetime


class BatchRun(msgspec.Struct, frozen=True):
    """The batch job around an attempt, and how often its scheduler had requeued it by then."""

    scheduler: str | None = None
    job: str | None = None
    restarts: int = 0


class LockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt that holds the job, or held it last: ``lock``. The file's mtime is the holder's heartbeat."""

    epoch: int
    host: str
    pid: int
    pid_started: float = 0.0
    boot_id: str
    scheduler: str | None = None
    scheduler_job: str | None = None
    scheduler_restarts: int = 0
    """How often the scheduler had requeued that job by then."""
    pid_namespace: int = 0
    """In which PID counts, for a holder in a container; 0 if that is not known."""
    released: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest attempt is doing, or how it ended: ``state.json``."""

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
    """The batch job in which the chain of requeues and resubmissions began."""
    run: str | None = None
    """The batch job and which of its starts this is, as ``ID.RESTARTS``."""
    follows: str | None = None
    """What follows the attempt in the batch system: ``requeue``, ``resubmit``, or ``nothing:`` with the reason."""
    scheduler: str | None = None
    """The scheduler of these batch jobs."""
    next_job: str | None = None
    """The batch job that was submitted to continue this one."""


class Verifying(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a generation's images is verified: ``verifying.json``, which is there only while that lasts."""

    format: int = FORMAT
    generation: int
    done: int
    size: int
    updated: datetime


class ImageFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a generation."""

    name: str
    size: int
    xxh3_128: str


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a checkpoint: how long the program waited for it and how long the commit took, in seconds."""

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
    """The description of a generation: ``manifest.json``. A generation that has one is complete."""

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
    """Why this engine was chosen."""
    engine_way: str = ""
    """How it ran the program, such as ``in a user namespace``; empty for an engine that has one way."""
    images: list[ImageFile]
    restart_images: list[str]
    staging: str = ""
    """The directory in which the engine wrote the images, which may refer to each other by that path."""
    processes: int
    host: Host
    cost: Cost
    stdout_size: int | None = None
    stderr_size: int | None = None
    stdout_inode: int | None = None
    """The file that our own standard output was: another job of the scheduler has another."""
    stderr_inode: int | None = None
    stdin_bytes: int | None = None
    """How much the program had read from a pipe on its standard input; None if there was none."""
    engine_data: dict[str, str] = {}
    """Values that the engine needs again for a restart."""
    undo_part: str | None = None
    """The part of the journal of changed files that began with this generation; None if nothing was recorded."""
    quirks: list[str] = []
    """The settings that the program was launched with so that it works, each with its reason."""
    updated_files: list[str] = []
    """Files that the program had open for reading and writing. Overwritten content cannot be restored in them."""
    mapped_files: list[str] = []
    """Those of them that it has mapped for writing. Their modification times do not show whether it wrote."""
    stamps: dict[str, Stamp] = {}
    """By what a resume recognizes these as unchanged; of those without one, their time has to do."""
    changed_files: list[str] = []
    """The `Job.named_files` that were not what they were at the beginning: the program may have written them."""
    check: str | None = None
    """The hash of the other fields, which detects damage; None in older manifests."""

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(image.size for image in self.images)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request of dmtcp-ctl to a running attempt, and the answer once there is one."""

    action: str
    asked_by: str
    asked: datetime
    answer: str | None = None
    ok: bool | None = None
    generation: int | None = None


RecordT = TypeVar("RecordT", Job, LockRecord, State, Verifying, Manifest, Request)
ManifestT = TypeVar("ManifestT", bound=Manifest)


def utc_now() -> datetime:
    """Return the current time in the form in which records hold it."""
    return datetime.now(timezone.utc)


def path_text(path: Path | str) -> str:
    """Return PATH as text for a record, with %-escapes, because a file name may contain bytes that are not UTF-8."""
    return quote(os.fsencode(path), safe="/ ~!@#$^&*()_+-={}[]|:;,.<>?")


def path_of(text: str) -> Path:
    """Return the path that `path_text` turned into TEXT."""
    return Path(_unescaped(text))


def _unescaped(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))


def encode(record: msgspec.Struct) -> bytes:
    """Return RECORD as JSON with one field a line, so that people can read it."""
    data = json_of(_with_names(record, path_text) if isinstance(record, Manifest) else record)
    if isinstance(record, Manifest):
        values = msgspec.json.decode(data)
        data = msgspec.json.encode({**values, "check": _check_of(values)})
    return msgspec.json.format(data, indent=2) + b"\n"


def json_of(value: object) -> bytes:
    """Return VALUE as one line of JSON, in which bytes of file names that are not text become escapes.

    Paths that are read back later must be written by `path_text`.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_with_escapes(msgspec.to_builtins(value)))


def plain(record: msgspec.Struct) -> dict[str, Any]:
    """Return RECORD as plain values, as ``--json`` prints them."""
    values: dict[str, Any] = msgspec.to_builtins(record)
    return values


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Return the record of KIND in file PATH.

    Raises FileNotFoundError if the file does not exist, and StoreError if it cannot be read, is not JSON, lacks a
    field, or has a newer format.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", "check its owner and permissions") from error
    return decode(data, kind, path)


def decode(data: bytes, kind: type[RecordT], path: Path) -> RecordT:
    """Return the record of KIND in DATA, which was read from PATH; see `read_record` for the errors."""
    hint = _ANOTHER if kind is Manifest else "repair it, or move the job's directory away to start over"
    record, values = decoded(data, kind, path, hint=hint, newer_hint=f"{USE_NEWER}, or another --dir")
    if isinstance(record, Manifest):
        # DMTCP names images after the program, whose name may have any bytes
        record = _with_names(record, _unescaped)
        _check_names(record, path)
        if record.check is not None and record.check != _check_of(values):
            raise StoreError(f"{path} is damaged: it does not have the content that was committed", _ANOTHER)
        if record.undo_part is None and _FORMER_UNDO_PART in record.engine_data:
            return msgspec.structs.replace(record, undo_part=record.engine_data[_FORMER_UNDO_PART])
    return record


def _check_of(values: dict[str, Any]) -> str:
    """Return the hash of the VALUES of a manifest, whatever their order and the blanks between them were."""
    others = {name: value for name, value in values.items() if name != "check"}
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(others, order="sorted"))


def _with_escapes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_with_escapes(key): _with_escapes(one) for key, one in value.items()}
    return [_with_escapes(one) for one in value] if isinstance(value, list) else value


def _with_names(manifest: ManifestT, convert: Callable[[str], str]) -> ManifestT:
    images = [msgspec.structs.replace(image, name=convert(image.name)) for image in manifest.images]
    return msgspec.structs.replace(manifest, images=images, restart_images=list(map(convert, manifest.restart_images)))


def _check_names(manifest: Manifest, path: Path) -> None:
    """Refuse names that lead out of the generation's directory, and manifests without the images to restart."""
    names = {image.name for image in manifest.images}
    for name in names:
        if not stays_below(name):
            raise StoreError(f"{path} names a file outside its generation: {name!r}", _ANOTHER)
    if not manifest.restart_images or not names.issuperset(manifest.restart_images):
        raise StoreError(f"{path} does not list the images to restart", _ANOTHER)
