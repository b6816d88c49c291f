"""The lease of an attempt on its job: its program runs only while no other attempt can have taken over.

A thread renews the heartbeat, whatever the event loop waits for. Another one pauses the program where that has not
succeeded for so long that an attempt elsewhere may soon count this one as dead: a machine that was suspended, or a file
system that does not answer. The program goes on with the next heartbeat, or is killed if somebody has taken over.

When a suspended machine wakes, its program may run for a moment before it is killed. The attempt that took over learns
of it from this process, and goes back to the generation from which it began.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from dmtcp_py.errors import FencedError, StoreError
from dmtcp_py.store.claims import has_run_on, tell_that_it_ran_on
from dmtcp_py.store.lock import HEARTBEAT_S, STALE_S
from dmtcp_py.system.alarm import Alarm, boottime_s
from dmtcp_py.system.pausing import go_on, kill_below, pause_below
from dmtcp_py.system.reaping import SPARED
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine.protocol import Computation
    from dmtcp_py.messages import Report
    from dmtcp_py.store.store import Store

LEASE_S = STALE_S - 2 * HEARTBEAT_S
"""So long after its last heartbeat the program is paused."""
_TICK_S = 0.5
_SAID_AFTER_S = 2.0
_JOIN_S = 5.0


class Lease:
    """Renews the heartbeat of the job that STORE holds from `begin` to `close`, and looks after one computation."""

    def __init__(self, store: Store, report: Report) -> None:
        self._lock, self._report = store.lock, report
        before = store.before
        self._former = None if before is None or before.record.released else before.record.epoch
        """The attempt before this one, if it is not known to have ended."""
        self._wake: Callable[[], None] | None = None
        self._ended, self._is_due = threading.Event(), threading.Event()
        self._alarm = Alarm()
        self._changing = threading.Lock()
        self._computation: Computation | None = None
        self._paused: set[int] | None = None
        self._paused_at, self._is_said = 0.0, False
        self._error: FencedError | None = None
        self._beaten_at = boottime_s()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._beat, self._watch)]

    def begin(self, wake: Callable[[], None]) -> None:
        """Begin to renew the heartbeat; WAKE is called when the lease is lost."""
        self._wake = wake
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise FencedError if another attempt has taken over; the program has been killed then."""
        if self._error is not None:
            raise self._error

    def cover(self, computation: Computation) -> None:
        """Look after COMPUTATION from now on. Raises FencedError as `check` does."""
        with self._changing:
            self._computation, self._paused = computation, None
        self.check()

    def uncover(self) -> None:
        """Look after no computation any more."""
        with self._changing:
            self._computation = None

    def former_ran_on(self) -> bool:
        """Whether the attempt from which this one took over turned out to live; true once."""
        if self._former is not None and has_run_on(self._lock.layout, self._former):
            self._former = None
            return True
        return False

    def close(self) -> None:
        """End the threads. One that a file system holds up ends with this process."""
        self._ended.set()
        self._is_due.set()
        self._alarm.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        if not any(thread.is_alive() for thread in self._threads):
            self._alarm.close()

    def _beat(self) -> None:
        while not self._ended.is_set():
            self._is_due.clear()
            try:
                self._lock.beat()
            except FencedError as error:
                self._lost(error)
                return
            except (StoreError, OSError):
                # it may answer the next time
                self._ended.wait(_TICK_S)
                continue
            self._beaten_at = boottime_s()
            self._go_on()
            self._look_at_former()
            self._is_due.wait(HEARTBEAT_S)

    def _watch(self) -> None:
        while not self._ended.is_set():
            ends_at = self._beaten_at + LEASE_S
            if boottime_s() > ends_at and self._error is None:
                self._pause()
                self._is_due.set()
            self._alarm.set(max(ends_at, boottime_s() + _TICK_S))
            if not self._ended.is_set():
                self._alarm.wait()

    def _pause(self) -> None:
        with self._changing:
            computation = self._computation
            if computation is None:
                return
            if self._paused is None:
                computation.signal(signal.SIGSTOP)
                self._paused = pause_below(os.getpid(), but=self._tools(computation))
                self._paused_at, self._is_said = boottime_s(), False
            elif not self._is_said and boottime_s() - self._paused_at > _SAID_AFTER_S:
                self._is_said = True
                late = format_duration(boottime_s() - self._beaten_at)
                self._report.warn(
                    f"{self._lock.layout.lock} could not be renewed for {late}: "
                    "the program is paused until its file system answers, as another attempt may take over"
                )

    def _go_on(self) -> None:
        with self._changing:
            paused, self._paused = self._paused, None
            if paused is not None and self._computation is not None:
                go_on(paused)
                self._computation.signal(signal.SIGCONT)
                if self._is_said:
                    waited = format_duration(boottime_s() - self._paused_at)
                    self._report.say(f"the program goes on after {waited}", event="goes-on")

    def _look_at_former(self) -> None:
        """Kill the program if an attempt has turned out to live that had changed its files."""
        if self._former is not None and has_run_on(self._lock.layout, self._former):
            self._kill()

    def _lost(self, error: FencedError) -> None:
        self._error = error
        self._kill()
        tell_that_it_ran_on(self._lock.layout, self._lock.record.epoch)
        if self._wake is not None:
            self._wake()

    def _kill(self) -> None:
        with self._changing:
            if self._computation is not None:
                self._computation.kill()
                kill_below(os.getpid(), but=self._tools(self._computation))

    @staticmethod
    def _tools(computation: Computation) -> set[int]:
        """Return our children that do not belong to the program of COMPUTATION."""
        return ({*computation.known_pids()} - {computation.pid}) | SPARED
