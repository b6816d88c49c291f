"""The lock of a job, which decides which attempt may write: flock, a record of the holder, an epoch and a heartbeat.

On one machine flock decides. Between machines it may not, because some shared file systems keep it local. So an
attempt waits for the heartbeat of a holder whose release is not recorded, and every holder keeps checking that no
later epoch has taken over. Epochs only grow.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import FencedError, LockedError, StoreError
from dmtcp_py.store.access import refuse_job
from dmtcp_py.store.records import LockRecord, decode, encode
from dmtcp_py.system.files import PRIVATE_FILE
from dmtcp_py.system.proc import boot_id, started_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.store.layout import JobLayout

HEARTBEAT_S = 5.0
"""Interval between two heartbeats."""
STALE_S = 30.0
"""Age of a heartbeat from which its supervisor counts as dead."""


@dataclass(frozen=True)
class Holding:
    """The holder of a lock, as its record and heartbeat describe it."""

    record: LockRecord
    heartbeat_age_s: float
    heartbeat_ns: int
    """The heartbeat by the file server's clock; only good for detecting a change."""

    @property
    def is_here(self) -> bool:
        """Whether the holder was started on this machine since it booted."""
        return self.record.boot_id == boot_id()

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor that wrote the record still runs, as far as this machine can tell."""
        if self.record.released:
            return False
        if self.is_here and self.record.host == os.uname().nodename:
            return started_at(self.record.pid) == self.record.pid_started
        return self.heartbeat_age_s < STALE_S


class JobLock:
    """The lock of one job, held until `release` or the end of the process."""

    def __init__(self, layout: JobLayout, fd: int, record: LockRecord) -> None:
        self.layout = layout
        self.record = record
        self._fd = fd

    def beat(self) -> None:
        """Renew the heartbeat; raise FencedError if a later attempt has taken over."""
        self.check()
        os.utime(self._fd)

    def check(self) -> None:
        """Raise FencedError if this attempt no longer holds the job."""
        try:
            is_same_file = os.path.samestat(self.layout.lock.stat(), os.fstat(self._fd))
        except OSError as error:
            raise FencedError(
                f"{self.layout.lock} is gone: {error.strerror}", "this attempt stops and commits nothing more"
            ) from error
        found = _read(self._fd, self.layout)
        if not is_same_file or (found is not None and found.epoch > self.record.epoch):
            raise FencedError(
                f"a later attempt has taken over job {self.layout.name}"
                + (f" (epoch {found.epoch} on {found.host}, pid {found.pid})" if is_same_file and found else ""),
                "this attempt stops and commits nothing more",
            )

    def release(self) -> None:
        """Release the lock, and record that for machines that do not see the flock."""
        with suppress(OSError, FencedError):
            self.check()
            _write(self._fd, msgspec.structs.replace(self.record, released=True))
        os.close(self._fd)


def holding(layout: JobLayout) -> Holding | None:
    """Return the holder of a job's lock, or the last one; None if it was never held. Changes nothing."""
    try:
        with layout.lock.open("rb") as file:
            record = _read(file.fileno(), layout)
            beat = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return None if record is None else Holding(record, time.time() - beat.st_mtime, beat.st_mtime_ns)


def is_running(layout: JobLayout) -> bool:
    """Return whether an attempt holds the job, as far as this machine can tell."""
    held = holding(layout)
    return held is not None and held.is_alive


def acquire(
    layout: JobLayout, *, least_epoch: int, scheduler_job: str | None, restarts: int = 0, say: Callable[[str], None]
) -> tuple[JobLock, Holding | None]:
    """Acquire the lock of a job with the next epoch; return it with the previous holder.

    SCHEDULER_JOB is the batch job around us, and RESTARTS the number of its requeues so far. The epoch is higher than
    LEAST_EPOCH and than that of the previous holder. SAY reports a wait for a holder on another machine. Raises
    LockedError with the holder's host and pid, and StoreError if the file system cannot lock.
    """
    fd = _open_locked(layout)
    try:
        before = holding(layout)
        if before is not None and before.is_alive and not before.is_here:
            _wait_until_stale(layout, before, say)
        record = LockRecord(
            epoch=max(least_epoch, before.record.epoch if before else 0) + 1,
            host=os.uname().nodename,
            pid=os.getpid(),
            pid_started=started_at(os.getpid()) or 0.0,
            boot_id=boot_id(),
            scheduler_job=scheduler_job,
            scheduler_restarts=restarts,
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
    fd = _open_locked(layout)
    try:
        before = holding(layout)
        if before is not None and before.is_alive:
            raise _locked(layout, before)
        beat = os.fstat(fd)
        record = before.record if before else LockRecord(epoch=0, host="", pid=0, boot_id="", released=True)
        yield JobLock(layout, fd, record)
        os.utime(fd, ns=(beat.st_atime_ns, beat.st_mtime_ns))
    finally:
        os.close(fd)


def _open_locked(layout: JobLayout) -> int:
    refuse_job(layout)
    try:
        fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        raise StoreError(
            f"{layout.lock} cannot be opened: {error.strerror}", "check its owner and permissions"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise _locked(layout, holding(layout)) from None
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise StoreError(
                f"the file system of {layout.root} cannot lock files ({error.strerror})",
                "choose a directory on another file system with --dir",
            ) from error
        raise
    return fd


def _locked(layout: JobLayout, found: Holding | None) -> LockedError:
    holder = f"on {found.record.host} as pid {found.record.pid}" if found else "elsewhere"
    if found and found.record.scheduler_job:
        holder += f", scheduler job {found.record.scheduler_job}"
    return LockedError(
        f"job {layout.name} is running {holder}",
        f"see 'dmtcp-ctl --dir {layout.root.parent} status {layout.name}', or use another --job NAME",
    )


def _wait_until_stale(layout: JobLayout, before: Holding, say: Callable[[str], None]) -> None:
    say(
        f"the attempt on {before.record.host} (pid {before.record.pid}) may still be running;"
        f" waiting {STALE_S:.0f} s for its heartbeat"
    )
    until = time.monotonic() + STALE_S
    while (now := time.monotonic()) < until:
        time.sleep(min(HEARTBEAT_S / 2, until - now))
        found = holding(layout)
        if found is not None and found.heartbeat_ns != before.heartbeat_ns:
            raise _locked(layout, found)


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
