"""The gate: a command of the user's that is asked from time to time whether the program may run."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import EngineError, UsageError
from dmtcp_py.options import EXIT, WAIT
from dmtcp_py.system.environment import given_environ
from dmtcp_py.system.tools import run_tool
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.messages import Report

ANSWER_S = 60.0
"""How long the command may take."""
_CANNOT_RUN = (126, 127)
_LEAST_SIGNALLED = 128
_MOST_CHARS = 100


class GateAnswer(Struct, frozen=True):
    """What the command answered: whether the program may run, and the last line that it printed."""

    is_open: bool | None
    """None: it gave no answer."""
    text: str
    is_broken: bool = False
    """Whether the shell could not run it."""


class Gate:
    """The gate of one attempt; it is always open if COMMAND is None. It is asked every EVERY_S, in a thread."""

    def __init__(self, command: str | None, every_s: float, report: Report, *, waits: bool) -> None:
        self._command, self._every_s, self._report = command, every_s, report
        self.waits = waits
        """Whether to wait while it is closed; otherwise the attempt ends."""
        self.is_open = True
        self._why = ""
        self._is_asked = False
        self._ask_at = 0.0
        self._has_warned = False

    @property
    def state(self) -> str:
        """Whether it is open, in words, and what the command printed."""
        why = f" ({self._why})" if self._why else ""
        again = f"; asking again every {format_duration(self._every_s)}" if self.waits and not self.is_open else ""
        return f"the gate is {'open' if self.is_open else 'closed'}{why}{again}"

    def ask_first(self) -> None:
        """Ask and wait for the answer. Raises UsageError if the command cannot be run."""
        if self._command is None:
            return
        answer = _ask(self._command)
        if answer.is_broken:
            raise UsageError(f"--gate: {answer.text}", "try the command in a shell; status 0 lets the program run")
        # without an answer nobody knows
        self.is_open = answer.is_open is not None
        self.answered(answer)

    def poll(self, post: Callable[[GateAnswer], None]) -> None:
        """Ask if it is time for that, and POST the answer."""
        command = self._command
        if command is None or self._is_asked or time.monotonic() < self._ask_at:
            return
        self._is_asked = True
        threading.Thread(target=lambda: post(_ask(command)), daemon=True).start()

    def answered(self, answer: GateAnswer) -> bool:
        """Apply a posted ANSWER, and print what has changed; return whether the gate is open.

        Without an answer it stays as it was.
        """
        self._is_asked, self._ask_at = False, time.monotonic() + self._every_s
        if answer.is_open is None:
            if not self._has_warned:
                stays = f"until it answers, the gate stays {'open' if self.is_open else 'closed'}"
                self._report.warn(f"--gate: {answer.text}; {stays}")
            self._has_warned = True
            return self.is_open
        was_open, self.is_open, self._why, self._has_warned = self.is_open, answer.is_open, answer.text, False
        if was_open != self.is_open:
            self._report.say(self.state, event="gate", is_open=self.is_open)
        return self.is_open


def find_gate(plan: Plan, report: Report) -> Gate:
    """Return the gate of PLAN, which was asked. Raises UsageError."""
    options, is_batch_job = plan.options, plan.allocation.job_id is not None
    then = options.gate_then or (EXIT if is_batch_job else WAIT)
    gate = Gate(options.gate or None, options.gate_every_s, report, waits=then == WAIT)
    gate.ask_first()
    return gate


def _ask(command: str) -> GateAnswer:
    """Run COMMAND in a shell and return what it answers; nothing is raised."""
    try:
        # the user writes a shell command
        done = run_tool(["/bin/sh", "-c", command], timeout_s=ANSWER_S, env=given_environ())
    except EngineError as error:
        return GateAnswer(None, f"'{command}' gave no answer: {error.what}")
    lines = done.output.strip().splitlines() or [""]
    text = lines[-1].strip()[:_MOST_CHARS]
    if done.status in _CANNOT_RUN:
        return GateAnswer(None, f"'{command}' cannot be run ({text})", is_broken=True)
    if done.status > _LEAST_SIGNALLED:
        return GateAnswer(None, f"'{command}' was killed by signal {done.status - _LEAST_SIGNALLED}")
    return GateAnswer(done.status == 0, text)
