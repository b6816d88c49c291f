"""Fetching a job from a mirror before an attempt, and what a person sees of that: a bar on a terminal, or lines."""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dmtcp_py.attempt.mirror_process import end, holder_of, process_of
from dmtcp_py.errors import LockedError, UsageError
from dmtcp_py.messages import NORMAL
from dmtcp_py.mirror.address import FILE, address_of
from dmtcp_py.mirror.errors import MirrorError
from dmtcp_py.mirror.order import Order
from dmtcp_py.rollback.elsewhere import remember_seen
from dmtcp_py.store.history import last_that_ran
from dmtcp_py.store.lock import HEARTBEAT_S
from dmtcp_py.store.records import path_text
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.messages import Report
    from dmtcp_py.mirror.address import Address
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import JobLock
    from dmtcp_py.store.store import Store
    from dmtcp_py.system.child import Child

_READ_BYTES = 1 << 16


def bring(store: Store, options: RunOptions, report: Report) -> None:
    """Fetch the job from a mirror where that is further than the directory that STORE holds.

    Raises MirrorError if nothing is known of the job and no mirror answers, LockedError if it runs elsewhere, and
    UsageError if a mirror is where the jobs are.
    """
    if not options.mirrors:
        return
    addresses = [address_of(text) for text in options.mirrors]
    _refuse_own(store, addresses)
    order = Order(
        root=path_text(store.layout.root.absolute()),
        mirrors=[address.text for address in addresses],
        holder=holder_of(store),
        generation=options.generation,
        is_fresh=options.fresh,
        local_epoch=last_that_ran(store.layout),
    )
    child = process_of("bringing", order)
    try:
        store.outrank(_relay(_lines(child, store.lock), report, order))
    finally:
        end(child)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _refuse_own(store: Store, addresses: Sequence[Address]) -> None:
    root = store.layout.root.resolve()
    for address in addresses:
        place = Path(address.rest).resolve() if address.scheme == FILE else None
        if place is not None and (place == root.parent or place.is_relative_to(root)):
            raise UsageError(f"--mirror {address.shown} is where the job itself is", "name another place")


def _lines(child: Child, lock: JobLock) -> Iterator[bytes]:
    """Yield what CHILD reports, and let LOCK beat meanwhile. Raises FencedError."""
    if child.stdout is None:
        return
    begun, beat_at = b"", 0.0
    while True:
        if time.monotonic() >= beat_at:
            lock.beat()
            beat_at = time.monotonic() + HEARTBEAT_S
        if select.select([child.stdout], [], [], HEARTBEAT_S)[0]:
            if not (data := os.read(child.stdout.fileno(), _READ_BYTES)):
                return
            *lines, begun = (begun + data).split(b"\n")
            yield from lines


def _relay(lines: Iterator[bytes], report: Report, order: Order) -> int:
    """Print what LINES report; return the epoch to outrank. Raises the error in them."""
    hears = Hears(report, order.layout)
    try:
        for line in lines:
            values = msgspec.json.decode(line)
            if "epoch" in values:
                return int(values["epoch"])
            hears.told(**values)
    finally:
        hears.close()
    raise MirrorError("the process that asks the mirrors was killed", "run the same line again")


class Hears:
    """Prints what is reported by whoever fetches the job of LAYOUT."""

    def __init__(self, report: Report, layout: JobLayout) -> None:
        self._report, self._layout = report, layout
        self._bar = Bar(is_drawn=report.verbosity >= NORMAL and not report.as_json)

    def told(self, **values: Any) -> None:
        """Print VALUES, or raise the error in them."""
        if not values or "done" in values:
            self._bar.at(values.get("done", 0))
            return
        self._bar.end()
        if "fetching" in values:
            self._say(f"fetching generation {values['fetching']} from", "fetching", values)
            self._bar.begin(values["size"])
        elif "fetched" in values:
            self._say(f"generation {values['fetched']} fetched from", "fetched", values)
        elif "seen_at" in values:
            remember_seen(self._layout.undo, values["seen_at"])
        elif "error" in values:
            kind = LockedError if values["is_locked"] else MirrorError
            raise kind(values["error"], values["hint"])
        elif "warn" in values:
            self._report.warn(values["warn"])
        elif "say" in values:
            self._report.say(values["say"])

    def close(self) -> None:
        """Take the bar away."""
        self._bar.end()

    def _say(self, what: str, event: str, values: dict[str, Any]) -> None:
        text = f"{what} {values['mirror']} ({format_size(values['size'])})"
        self._report.say(text, event=event, generation=values[event])


class Bar:
    """A progress bar on standard error, if that is a terminal."""

    def __init__(self, *, is_drawn: bool = True) -> None:
        self.is_drawn = is_drawn and sys.stderr is not None and sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None

    def begin(self, size: int | None) -> None:
        """Begin a bar for SIZE bytes; None if it is not known how many there will be."""
        if self.is_drawn:
            from rich.console import Console  # noqa: PLC0415 - for a terminal alone
            from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("", total=size)
            self._progress.start()

    def at(self, done: int) -> None:
        """Draw that DONE bytes are there."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done)

    def end(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
