"""Signals, posted events and the passing of time as one stream."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.system.events import EventStream
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON_S = 2.0
"""Less than LONG_S by so much that waiting it out shows."""


@pytest.fixture
def stream() -> Iterator[EventStream]:
    """Open a stream of USR1 and TERM, and put everything back after the test."""
    with closing(EventStream([signal.SIGUSR1, signal.SIGTERM])) as stream:
        yield stream


@pytest.fixture
def began() -> float:
    """Return when the test began."""
    return time.monotonic()


def test_time_passes_without_events(stream: EventStream, began: float) -> None:
    assert stream.wait(0.05) == ([], [])
    assert time.monotonic() - began >= 0.045


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_no_time_is_no_wait(stream: EventStream, began: float, timeout_s: float) -> None:
    assert stream.wait(timeout_s) == ([], [])
    assert time.monotonic() - began < SOON_S


def test_a_signal_wakes_and_is_told(stream: EventStream, began: float) -> None:
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    assert stream.wait(LONG_S) == ([signal.SIGUSR1], [])
    assert time.monotonic() - began < SOON_S
    timer.join()


def test_signals_come_in_their_order_and_none_is_lost(stream: EventStream) -> None:
    sent = [signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1]
    for signum in sent:
        signal.raise_signal(signum)
    assert stream.wait(LONG_S) == (sent, [])
    assert stream.wait(0) == ([], [])


def test_the_end_of_a_child_wakes(stream: EventStream, began: float) -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    signals, _ = stream.wait(LONG_S)
    assert signals == [signal.SIGCHLD]
    assert time.monotonic() - began < SOON_S
    os.waitpid(child, 0)


def test_what_another_thread_posts_wakes(stream: EventStream, began: float) -> None:
    timer = threading.Timer(0.05, stream.post, ("done",))
    timer.start()
    assert stream.wait(LONG_S) == ([], ["done"])
    assert time.monotonic() - began < SOON_S
    timer.join()


def test_posted_events_come_in_their_order_and_once(stream: EventStream) -> None:
    for number in range(3):
        stream.post(number)
    assert stream.wait(LONG_S) == ([], [0, 1, 2])
    assert stream.wait(0) == ([], [])


def test_more_than_the_socket_holds_is_not_lost(stream: EventStream) -> None:
    for number in range(5000):
        stream.post(number)
    assert len(stream.wait(LONG_S)[1]) == 5000


def test_looking_for_a_signal_takes_none_away(stream: EventStream, began: float) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert stream.has_any([signal.SIGTERM])
    assert stream.has_any([signal.SIGUSR1, signal.SIGTERM])
    assert not stream.has_any([signal.SIGUSR1])
    assert stream.wait(LONG_S) == ([signal.SIGTERM], [])
    assert not stream.has_any([signal.SIGTERM])
    assert time.monotonic() - began < SOON_S


def test_looking_for_a_signal_delays_no_posted_event(stream: EventStream, began: float) -> None:
    stream.post("done")
    assert not stream.has_any([signal.SIGTERM])
    assert stream.wait(SOON_S) == ([], ["done"])
    assert time.monotonic() - began < SOON_S / 2


def test_an_ignored_signal_stays_ignored_as_nohup_wants_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with closing(EventStream([signal.SIGHUP])) as stream:
            signal.raise_signal(signal.SIGHUP)
            assert stream.wait(0.05) == ([], [])
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_closing_puts_everything_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGCHLD)}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    descriptors = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    EventStream([signal.SIGUSR1]).close()
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.set_wakeup_fd(wakeup) == wakeup
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == descriptors
