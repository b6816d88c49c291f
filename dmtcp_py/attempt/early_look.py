"""Looks for what prevents checkpoints in the first minute of a program, while another engine can still take it over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.attempt.another_engine import can_be_changed
from dmtcp_py.attempt.outcome import MOST_LOST_S
from dmtcp_py.engine.choice import AUTO
from dmtcp_py.errors import BlockedError, DmtcpRunError

if TYPE_CHECKING:
    from dmtcp_py.attempt.context import AttemptContext
    from dmtcp_py.attempt.start import Running

_FIRST_S = 0.7
_GROWS_BY = 1.6
_CONFIRM_S = 0.7
"""Time between two looks that both have to find something."""


class LookDone(Struct, frozen=True):
    """The result of one look: what prevents a checkpoint; None if nothing was found, or the look failed."""

    found: BlockedError | None


class EarlyLook:
    """Looks at the computation that is RUNNING from time to time, where another engine might take it over."""

    def __init__(self, context: AttemptContext, running: Running) -> None:
        self._context = context
        self._computation = running.computation
        self._post = context.stream.post
        options = context.plan.options
        # an engine that was asked for by name has no other
        self._is_wanted = running.parent is None and not options.allow_unprotected and options.engine == AUTO
        self._began = time.monotonic()
        self._due_at = self._began + _FIRST_S
        self._is_looking = False
        self._found_before = False

    @property
    def wakes_at(self) -> float | None:
        """When the next look is due; None while one is under way, and at the end."""
        is_over = self._is_looking or self._due_at > self._began + MOST_LOST_S
        return self._due_at if self._is_wanted and not is_over else None

    def begin_if_due(self) -> None:
        """Begin a look in a thread of its own, if it is time for one."""
        at = self.wakes_at
        if at is not None and time.monotonic() >= at:
            self._is_looking = True
            threading.Thread(target=self._look, daemon=True).start()

    def confirmed(self, done: LookDone) -> BlockedError | None:
        """Take note of DONE; return what it found if the look before has found something, and another engine is here.

        Where there is none, nothing is lost by waiting for the first checkpoint: the obstacle may be gone by then.
        """
        now = time.monotonic()
        was_found, self._found_before = self._found_before, done.found is not None
        self._is_looking = False
        self._due_at = now + _CONFIRM_S if done.found else self._began + (now - self._began) * _GROWS_BY
        if done.found is None or not was_found:
            return None
        self._is_wanted = can_be_changed(self._context)
        return done.found if self._is_wanted else None

    def _look(self) -> None:
        found = None
        try:
            self._computation.look()
        except BlockedError as error:
            found = error if error.for_another else None
        except (DmtcpRunError, OSError):
            # the checkpoint will look again
            pass
        self._post(LookDone(found))
