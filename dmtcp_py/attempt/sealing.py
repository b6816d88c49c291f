"""The supervisor's side of sealing: a process that compresses committed generations while the program runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from dmtcp_py.errors import EngineError
from dmtcp_py.messages import VERBOSE
from dmtcp_py.system import reaping
from dmtcp_py.system.background import argv_of
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.messages import Report


class Sealing:
    """Has the generations of an attempt sealed while its program runs; does nothing unless the options ask for it.

    All methods are called by one thread: the kernel ends the process with the thread that has started it.
    """

    def __init__(self, plan: Plan, report: Report) -> None:
        self._plan, self._report = plan, report
        # the images of several nodes are read on all of them
        self._is_wanted = plan.options.seal and plan.nodes is None
        self._child: Child | None = None
        self._is_due = False

    def begin(self) -> None:
        """Have what is committed sealed, as soon as what is being sealed is done."""
        self._is_due = self._is_wanted

    def poll(self) -> None:
        """Go on with what is due."""
        if self._child is not None and self._child.poll() is not None:
            self._ended(self._child)
        if self._is_due and self._child is None:
            self._is_due = False
            self._start()

    def close(self) -> None:
        """End what is being sealed, whose images stay as they are. It can begin again."""
        self._is_due = False
        if (child := self._child) is not None:
            child.signal_group(signal.SIGKILL)
            with suppress(EngineError):
                # where its file system hangs, SIGKILL does not end it
                child.stop(0)
            self._ended(child)
            for path in self._plan.store.layout.left_of_sealing():
                path.unlink(missing_ok=True)

    def _start(self) -> None:
        store, job = self._plan.store, self._plan.start.job
        root = os.fspath(store.layout.root.absolute())
        try:
            child = Child(
                argv_of("store.seal_process", root, str(store.epoch), str(job.first_generation)),
                env=os.environ,
                dies_with_us=True,
                stdio=ChildStdio(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL),
            )
        except EngineError:
            return
        reaping.SPARED.add(child.pid)
        self._child = child
        threading.Thread(target=self._read, args=[child], daemon=True).start()

    def _read(self, child: Child) -> None:
        for line in child.stdout or ():
            with suppress(msgspec.DecodeError):
                self._heard(msgspec.json.decode(line))

    def _ended(self, child: Child) -> None:
        reaping.SPARED.discard(child.pid)
        self._child = None

    def _heard(self, values: dict[str, Any]) -> None:
        number, store = values["generation"], self._plan.store
        if "problem" in values:
            text = f"generation {number} stays as it is: {values['problem']}"
            store.record("failed", what="sealing", generation=number, error=values["problem"])
        else:
            size, stored, seconds = values["size"], values["stored"], values["seconds"]
            text = (
                f"generation {number} sealed ({format_size(stored)} for {format_size(size)}, "
                f"{format_duration(seconds)})"
            )
            store.record("sealed", generation=number, size=size, stored=stored, seconds=seconds)
        self._report.say(text, level=VERBOSE, event="sealed", generation=number)
