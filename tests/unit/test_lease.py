"""The program runs only while its attempt renews the heartbeat, and not at all once another attempt has taken over."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dmtcp_py.attempt import lease
from dmtcp_py.attempt.lease import Lease
from dmtcp_py.errors import FencedError
from dmtcp_py.messages import Report
from dmtcp_py.store.claims import has_run_on
from dmtcp_py.store.records import encode
from dmtcp_py.system.proc import state_of
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import JobLock


class Program:
    """What the lease has to do with of a computation: a shell and a process of its own session below it."""

    def __init__(self) -> None:
        script = "setsid sh -c 'echo $$; while :; do sleep 0.05; done' & wait"
        self._shell = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        assert self._shell.stdout is not None
        self.pid, self.below = self._shell.pid, int(self._shell.stdout.readline())

    def known_pids(self) -> list[int]:
        """Return what is below dmtcp-run and is the engine's."""
        return [self.pid]

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the group."""
        os.killpg(self.pid, signum)

    def kill(self) -> None:
        """Kill the group."""
        os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill all of it, and reap it."""
        with suppress(ProcessLookupError):
            os.kill(self.below, signal.SIGKILL)
        with suppress(ProcessLookupError):
            self.kill()
        self._shell.communicate()


@pytest.fixture
def program() -> Iterator[Any]:
    """Start a program."""
    with closing(Program()) as started:
        yield started


def _is_paused(program: Any) -> bool:
    return state_of(program.pid) == state_of(program.below) == "T"


def test_a_program_pauses_while_the_heartbeat_is_held_up_and_goes_on_after(
    opened: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, lock, said = threading.Event(), opened().lock, io.StringIO()
    monkeypatch.setattr(lease, "LEASE_S", 0.3)
    monkeypatch.setattr(lease, "_SAID_AFTER_S", 0.3)
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)
    held = Lease(_Store(lock), Report(stream=said))
    answers.set()
    _beats_when(answers, lock, monkeypatch)
    with closing(held):
        held.begin(lambda: None)
        held.cover(program)
        answers.clear()
        wait_until(lambda: _is_paused(program) and "the program is paused" in said.getvalue())
        answers.set()
        wait_until(lambda: "T" not in (state_of(program.pid), state_of(program.below)))
        wait_until(lambda: "the program goes on after" in said.getvalue())
        held.check()
        held.uncover()


def test_a_program_that_was_stopped_by_others_stays_so(
    opened: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, lock = threading.Event(), opened().lock
    monkeypatch.setattr(lease, "LEASE_S", 0.3)
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)
    _beats_when(answers, lock, monkeypatch)
    os.kill(program.below, signal.SIGSTOP)
    wait_until(lambda: state_of(program.below) == "T")
    with closing(Lease(_Store(lock), Report(stream=io.StringIO()))) as held:
        held.begin(lambda: None)
        held.cover(program)
        wait_until(lambda: _is_paused(program))
        answers.set()
        wait_until(lambda: state_of(program.pid) != "T")
        assert state_of(program.below) == "T"
        held.uncover()


def test_a_program_is_killed_once_another_attempt_has_taken_over_which_can_know_that_it_ran_on(
    opened: Any, program: Any, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)
    lock, woken = opened().lock, threading.Event()
    with closing(Lease(_Store(lock), Report(stream=io.StringIO()))) as held:
        held.begin(woken.set)
        held.cover(program)
        layout.lock.write_bytes(encode(msgspec.structs.replace(lock.record, host="node17", pid=4321)))
        assert woken.wait(LONG_S)
        wait_until(lambda: {state_of(program.pid), state_of(program.below)} <= {None, "Z"})
        with pytest.raises(FencedError, match="node17"):
            held.check()
        assert has_run_on(layout, lock.record.epoch)


class _Store:
    """What the lease knows of a store."""

    before = None

    def __init__(self, lock: JobLock) -> None:
        self.lock = lock


def _beats_when(answers: threading.Event, lock: JobLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the heartbeat of LOCK wait until its file system ANSWERS."""
    beat = lock.beat

    def beat_late() -> None:
        assert answers.wait(LONG_S)
        beat()

    monkeypatch.setattr(lock, "beat", beat_late)
