"""The lock of a job, which decides which attempt may write: flock, a record of the holder, an epoch and a heartbeat.

On one machine flock decides, where the file system can lock. Between machines it may not, because some shared file
systems keep it local. So an attempt waits for the heartbeat of a holder whose release is not recorded, claims its epoch
(`dmtcp_py.store.claims`), and keeps checking that no other has taken over. Epochs only grow. Ages are measured by the
clock of the file server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import FencedError, LockedError, StoreError
from dmtcp_py.store.access import refuse_job
from dmtcp_py.store.claims import claim
from dmtcp_py.store.records import BatchRun, LockRecord, decode, encode
from dmtcp_py.system.files import PRIVATE_FILE, file_time
from dmtcp_py.system.proc import boot_id, pid_namespace, started_at, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.store.layout import JobLayout

HEARTBEAT_S = 5.0
"""Interval between two heartbeats."""
STALE_S = 30.0
"""Age of a heartbeat from which its supervisor counts as dead."""
SURE_S = 10.0
"""How long a heartbeat of that age is watched still: file servers that did not answer for a while go on together."""


class Holding(msgspec.Struct, frozen=True):
    """The holder of a lock, as its record and heartbeat describe it."""

    record: LockRecord
    heartbeat_age_s: float
    heartbeat_ns: int
    """The heartbeat by the file server's clock; only good for detecting a change."""

    @property
    def heartbeat(self) -> datetime:
        """The last heartbeat, by the file server's clock."""
        return datetime.fromtimestamp(self.heartbeat_ns / 1e9, timezone.utc)

    @property
    def is_here(self) -> bool:
        """Whether the holder was started on this machine since it booted."""
        return _is_here(self.record)

    @property
    def is_seen(self) -> bool:
        """Whether this machine sees the process of the holder, if it lives."""
        is_seen = self.record.pid_namespace in (0, pid_namespace())
        return is_seen and self.is_here and self.record.host == os.uname().nodename

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor that wrote the record still runs, as far as this machine can tell."""
        if self.record.released:
            return False
        if self.is_seen:
            return started_at(self.record.pid) == self.record.pid_started
        return self.heartbeat_age_s < STALE_S

    @property
    def is_suspended(self) -> bool:
        """Whether the supervisor lives and is suspended, as by Ctrl-Z; another machine cannot see that."""
        return self.is_seen and self.is_alive and state_of(self.record.pid) == "T"

    @property
    def where(self) -> str:
        """Whether the supervisor runs or is suspended, and where."""
        doing = "suspended" if self.is_suspended else "running"
        return f"is {doing} on {self.record.host} as pid {self.record.pid}"


class JobLock:
    """The lock of one job, held until `release` or the end of the process."""

    def __init__(self, layout: JobLayout, fd: int, record: LockRecord) -> None:
        self.layout = layout
        self.record = record
        self._fd = fd
        self._closing, self._is_closed = threading.Lock(), False

    def beat(self) -> None:
        """Renew the heartbeat; raise FencedError if another attempt has taken over, and StoreError or OSError."""
        with self._closing:
            if not self._is_closed:
                self.check()
                os.utime(self._fd)

    def check(self) -> None:
        """Raise FencedError if this attempt no longer holds the job, and StoreError if that cannot be read."""
        try:
            # opened anew: what a network file system knows of an open file may be a minute old
            with self.layout.lock.open("rb") as file:
                is_same_file = os.path.samestat(os.fstat(file.fileno()), os.fstat(self._fd))
                found = _read(file.fileno(), self.layout)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                raise FencedError(
                    f"{self.layout.lock} is gone: {error.strerror}",
                    "this attempt stops and commits nothing more; if its directory was moved, move it back and run the "
                    "same line",
                ) from error
            raise StoreError(
                f"{self.layout.lock} cannot be read: {error.strerror}", "look at its file system"
            ) from error
        if not is_same_file or (found is not None and _who(found) != _who(self.record)):
            raise FencedError(
                f"another attempt has taken over job {self.layout.name}"
                + (f" (epoch {found.epoch} on {found.host}, pid {found.pid})" if is_same_file and found else ""),
                "this attempt stops and commits nothing more",
            )

    def outrank(self, epoch: int) -> None:
        """Have an epoch higher than EPOCH, which an attempt on another machine had. Raises FencedError."""
        self.check()
        if epoch >= self.record.epoch:
            self.record = msgspec.structs.replace(self.record, epoch=epoch + 1)
            _write(self._fd, self.record)

    def release(self) -> None:
        """Release the lock, and record that for machines that do not see the flock."""
        with suppress(OSError, StoreError):
            self.check()
            _write(self._fd, msgspec.structs.replace(self.record, released=True))
        with self._closing:
            self._is_closed = True
            os.close(self._fd)


def holding(layout: JobLayout) -> Holding | None:
    """Return the holder of a job's lock, or the last one; None if it was never held. Changes nothing."""
    try:
        with layout.lock.open("rb") as file:
            record = _read(file.fileno(), layout)
            beat = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    if record is None:
        return None
    now = time.time() if record.released or _is_here(record) else file_time(layout.root)
    return Holding(record, now - beat.st_mtime, beat.st_mtime_ns)


def is_running(layout: JobLayout) -> bool:
    """Return whether an attempt holds the job, as far as this machine can tell."""
    held = holding(layout)
    return held is not None and held.is_alive


def refuse_running(layout: JobLayout) -> None:
    """Raise LockedError if an attempt holds the job, as far as this machine can tell."""
    held = holding(layout)
    if held is not None and held.is_alive:
        raise _locked(layout, held, _to_stop(layout))


def acquire(
    layout: JobLayout, *, least_epoch: int, batch: BatchRun, say: Callable[[str], None]
) -> tuple[JobLock, Holding | None]:
    """Acquire the lock of a job with the next epoch; return it with the previous holder.

    BATCH is the batch job around us. The epoch is higher than LEAST_EPOCH and than that of the previous holder. SAY
    reports a wait for a holder on another machine. Where the file system cannot lock, claims and heartbeats decide
    alone. Raises LockedError with the holder's host and pid, and StoreError.
    """
    fd = _opened(layout)
    try:
        is_locked = _is_locked(layout, fd)
        before = holding(layout)
        if before is not None and not before.record.released and not (is_locked and before.is_here):
            _refuse_seen(layout, before)
            _wait_until_stale(layout, before, say)
        least = max(least_epoch, before.record.epoch if before else 0) + 1
        record = LockRecord(
            epoch=claim(layout, least, check=lambda epoch: _refuse_started(layout, epoch), wait_s=STALE_S),
            host=os.uname().nodename,
            pid=os.getpid(),
            pid_started=started_at(os.getpid()) or 0.0,
            boot_id=boot_id(),
            pid_namespace=pid_namespace(),
            scheduler=batch.scheduler,
            scheduler_job=batch.job,
            scheduler_restarts=batch.restarts,
        )
        _write(fd, record)
    except BaseException:
        os.close(fd)
        raise
    return JobLock(layout, fd, record), before


@contextmanager
def hold_for_maintenance(layout: JobLayout) -> Iterator[JobLock]:
    """Hold a job that is not running, for maintenance. This is not an attempt: the last holder's record stays.

    Raises LockedError if the job is running, here or on another machine.
    """
    fd = _opened(layout)
    try:
        if not _is_locked(layout, fd, _to_stop(layout)):
            raise StoreError(
                f"the file system of {layout.root} cannot lock files, so another command could change the job, too",
                "copy the job's directory to another file system",
            )
        refuse_running(layout)
        before = holding(layout)
        beat = os.fstat(fd)
        record = before.record if before else LockRecord(epoch=0, host="", pid=0, boot_id="", released=True)
        yield JobLock(layout, fd, record)
        os.utime(fd, ns=(beat.st_atime_ns, beat.st_mtime_ns))
    finally:
        os.close(fd)


def _opened(layout: JobLayout) -> int:
    refuse_job(layout)
    try:
        return os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        raise StoreError(
            f"{layout.lock} cannot be opened: {error.strerror}", "check its owner and permissions"
        ) from error


def _is_locked(layout: JobLayout, fd: int, hint: str = "") -> bool:
    """Lock FD; return False if its file system cannot lock. Raises LockedError if another process has the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _locked(layout, holding(layout), hint) from None
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    return True


def _to_stop(layout: JobLayout) -> str:
    return f"'dmtcp-ctl stop {layout.name}' stops it first"


def _locked(layout: JobLayout, found: Holding | None, hint: str = "") -> LockedError:
    holder = found.where if found else "is running elsewhere"
    if found and found.record.scheduler_job:
        holder += f", scheduler job {found.record.scheduler_job}"
    if found and found.is_suspended:
        hint = f"'fg' in its shell or 'kill -CONT {found.record.pid}' has it go on; {_to_stop(layout)}"
    return LockedError(
        f"job {layout.name} {holder}",
        hint or f"see 'dmtcp-ctl --dir {layout.root.parent} status {layout.name}', or use another --job NAME",
    )


def _refuse_seen(layout: JobLayout, before: Holding) -> None:
    """Raise LockedError if the process of BEFORE is seen to live."""
    if before.is_seen and before.is_alive:
        raise _locked(layout, before)


def _wait_until_stale(layout: JobLayout, before: Holding, say: Callable[[str], None]) -> None:
    """Wait until BEFORE is sure to have ended; raise LockedError if its heartbeat changes meanwhile."""
    if not before.is_alive and before.record.host == os.uname().nodename:
        # this machine was rebooted since
        return
    wait_s = STALE_S if before.is_alive else SURE_S
    say(
        f"the attempt on {before.record.host} (pid {before.record.pid}) may still be running;"
        f" waiting {wait_s:.0f} s for its heartbeat"
    )
    until = time.monotonic() + wait_s
    while (now := time.monotonic()) < until:
        time.sleep(min(HEARTBEAT_S / 2, until - now))
        found = holding(layout)
        if found is not None and found.heartbeat_ns != before.heartbeat_ns:
            raise _locked(layout, found)


def _refuse_started(layout: JobLayout, epoch: int) -> None:
    """Raise LockedError if an attempt with EPOCH or a later one has recorded that it holds the job."""
    found = holding(layout)
    if found is not None and found.record.epoch >= epoch and found.is_alive:
        raise _locked(layout, found)


def _is_here(record: LockRecord) -> bool:
    return record.boot_id == boot_id()


def _who(record: LockRecord) -> tuple[object, ...]:
    """Return what no two attempts have in common. The epoch may be raised by the attempt that has it."""
    return record.host, record.boot_id, record.pid, record.pid_started


def _read(fd: int, layout: JobLayout) -> LockRecord | None:
    try:
        return decode(os.pread(fd, 65536, 0), LockRecord, layout.lock)
    except (StoreError, OSError):
        # empty while its first holder writes it, or incomplete after a crash: the history also has the epoch
        return None


def _write(fd: int, record: LockRecord) -> None:
    data = encode(record)
    os.pwrite(fd, data, 0)
    os.ftruncate(fd, len(data))
    os.fsync(fd)
