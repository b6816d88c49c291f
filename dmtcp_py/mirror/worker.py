"""The process that copies a job to one mirror while its program runs: a child of the supervisor.

The first line of its standard input is an `Order`. Further lines: ``committed``, ``anew`` (a computation begins),
``finish KIND`` (the attempt has ended so; copy what is left, then report and end). It ends with its standard input. A
mirror that fails is tried again, less and less often.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.copying import REST_S, Copier, TakenOverError
from dmtcp_py.mirror.errors import reported
from dmtcp_py.mirror.opening import open_place
from dmtcp_py.mirror.order import Order, tell
from dmtcp_py.mirror.progress import STALL_S, Progress
from dmtcp_py.store.mirrored import state_path
from dmtcp_py.system.background import lower_priority

if TYPE_CHECKING:
    from dmtcp_py.mirror.address import Address

_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 300.0
_TICK_S = 1.0
_FINISHED = "finished"


class _Worker:
    """The thread that copies, and what it was told."""

    def __init__(self, order: Order, address: Address, progress: Progress) -> None:
        self._order, self._address, self._progress = order, address, progress
        self._copier: Copier | None = None
        self._wake = threading.Event()
        self._is_anew = False
        self._ended: str | None = None
        self._retry_s = _FIRST_RETRY_S

    def told(self, line: str) -> None:
        """React to a line of the supervisor's."""
        word, _, kind = line.partition(" ")
        if word == "anew":
            self._is_anew = True
        elif word == "finish":
            self._ended = kind
            if kind == _FINISHED and self._copier is not None:
                # of a program that has finished nothing will be resumed
                self._copier.wants_generations = False
        if word != "anew":
            self._wake.set()

    def run(self) -> None:
        """Copy until the attempt has ended, or another one has taken over."""
        while True:
            self._wake.clear()
            ended = self._ended
            try:
                self._progress.begin()
                with reported(self._address):
                    self._round(ended)
                pause_s = REST_S
            except TakenOverError as error:
                self._progress.problem(error.what)
                self._progress.write()
                tell(taken_over=error.what)
                return
            except DmtcpRunError as error:
                self._copier = None
                if self._progress.problem(error.what):
                    tell(problem=error.what, hint=error.hint)
                if ended is not None:
                    tell(left=error.what)
                    return
                pause_s, self._retry_s = self._retry_s, min(self._retry_s * 2, _LAST_RETRY_S)
            self._progress.rest()
            if ended is not None:
                return
            self._wake.wait(pause_s)

    def _round(self, ended: str | None) -> None:
        if self._copier is None:
            self._copier = Copier(self._order, open_place(self._address, self._order.layout.root), self._progress, tell)
        if self._is_anew:
            self._is_anew = False
            self._copier.forget()
        self._copier.wants_generations = ended != _FINISHED
        self._copier.copy_rest()
        self._retry_s = _FIRST_RETRY_S
        if self._progress.problem(None):
            tell(recovered=True)
        self._copier.copy_generations()
        if ended is not None:
            self._copier.copy_rest(ended)
            is_complete = ended == _FINISHED or self._copier.has_newest()
            tell(left="" if is_complete else "it is damaged here")


def main() -> None:
    """Copy as the order on standard input says."""
    order = msgspec.json.decode(_line(), type=Order)
    address = address_of(order.mirrors[0])
    lower_priority()
    progress = Progress(state_path(order.layout, address.key), address.shown, order.holder.epoch)
    worker = _Worker(order, address, progress)
    thread = threading.Thread(target=_run, args=[worker], daemon=True)
    thread.start()
    _watch(worker, thread, progress)
    progress.write()
    # libraries have threads of their own that may wait for a server
    os._exit(0)


def _watch(worker: _Worker, thread: threading.Thread, progress: Progress) -> None:
    """Pass on what the supervisor says, and write down what is done, until one of them ends or the mirror hangs."""
    while thread.is_alive():
        if select.select([0], [], [], _TICK_S)[0]:
            line = _line()
            if not line:
                return
            worker.told(line.decode().strip())
        thread.join(0)
        progress.write()
        if progress.is_stalled:
            text = f"nothing has moved for {STALL_S:.0f} s"
            progress.problem(text)
            tell(problem=text, hint="")
            return


def _run(worker: _Worker) -> None:
    try:
        worker.run()
    except BaseException:
        import traceback  # noqa: PLC0415 - only needed for bugs

        with suppress(OSError, ValueError):
            # on standard error, which the supervisor discards unless it is a terminal
            traceback.print_exc()
            tell(problem="this is a bug in dmtcp-py; please report it", hint="")
        time.sleep(_TICK_S)


def _line() -> bytes:
    """Return the next line of standard input, unbuffered; empty at its end."""
    found = bytearray()
    while (char := os.read(0, 1)) and char != b"\n":
        found += char
    return bytes(found) + (char and b"\n")


if __name__ == "__main__":
    sys.exit("this is run by dmtcp-run")
