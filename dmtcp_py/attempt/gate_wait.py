"""Waits while the gate is closed and nothing of the program runs."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from dmtcp_py.attempt.feed import InputFailed
from dmtcp_py.attempt.gate import GateAnswer
from dmtcp_py.attempt.interval import lead_s
from dmtcp_py.attempt.mirroring import MirrorSaid
from dmtcp_py.attempt.policy import STOP_SIGNALS
from dmtcp_py.attempt.state import held_state
from dmtcp_py.batch.requeue import GATE, LIMIT, REQUEST
from dmtcp_py.batch.time_limit import LimitAnswer
from dmtcp_py.store.requests import RequestQueue

if TYPE_CHECKING:
    from dmtcp_py.attempt.context import AttemptContext
    from dmtcp_py.attempt.gate import Gate

_TICK_S = 1.0


def wait_until_open(gate: Gate, context: AttemptContext, newest: int | None) -> str | None:
    """Wait while GATE is closed; return None once it is open, or why the attempt is to end.

    NEWEST is the generation from which the program goes on. Raises FencedError if another attempt took over.
    """
    if gate.is_open:
        return None
    if not gate.waits:
        return GATE
    context.plan.store.write_state(held_state(context, newest), durable=False)
    return _Wait(gate, context, newest).until_open()


class _Wait:
    def __init__(self, gate: Gate, context: AttemptContext, newest: int | None) -> None:
        self._gate, self._context, self._newest = gate, context, newest
        self._requests = RequestQueue(context.plan.store.layout)
        self._reason: str | None = None

    def until_open(self) -> str | None:
        while not self._gate.is_open and self._reason is None:
            self._gate.poll(self._context.stream.post)
            self._context.limit.poll(self._context.stream.post)
            self._context.mirrors.poll()
            signals, posted = self._context.stream.wait(_TICK_S)
            for signum in signals:
                self._signalled(signum)
            for event in posted:
                self._happened(event)
            self._look_at_limit()
            self._context.lease.check()
            self._answer_requests()
        return self._reason

    def _signalled(self, signum: int) -> None:
        if signum in STOP_SIGNALS:
            self._reason = self._reason or signal.Signals(signum).name
        elif signum == signal.SIGTSTP:
            signal.raise_signal(signal.SIGSTOP)

    def _happened(self, event: object) -> None:
        if isinstance(event, GateAnswer):
            self._gate.answered(event)
        elif isinstance(event, LimitAnswer):
            self._context.limit.update(event)
        elif isinstance(event, MirrorSaid):
            self._context.mirrors.heard(event)
        elif isinstance(event, InputFailed):
            raise event.error

    def _look_at_limit(self) -> None:
        limit = self._context.limit
        if limit.end_at is not None and limit.is_current:
            is_over = time.monotonic() >= limit.end_at - lead_s(0.0, limit.total_s)
            self._reason = self._reason or (LIMIT if is_over else None)

    def _answer_requests(self) -> None:
        actions = {request.action for request in self._requests.read()}
        if "stop" in actions:
            self._reason = self._reason or REQUEST
        text = f"nothing runs, as {self._gate.state}"
        self._requests.answer_all(ok="stop" in actions or self._newest is not None, text=text)
