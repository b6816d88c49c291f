"""Checkpoints that failed: what is recorded and what the user reads, and when."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from dmtcp_py.engine.protocol import EndKind
from dmtcp_py.errors import BlockedError, CheckpointFailedError

if TYPE_CHECKING:
    from dmtcp_py.attempt.checkpoint import CheckpointDone
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.engine.protocol import ProgramEnd
    from dmtcp_py.errors import DmtcpRunError
    from dmtcp_py.messages import Report
    from dmtcp_py.store.records import Manifest

_ENDS_WITHIN_S = 10.0
_NUMBER = r"[0-9.]+ ?[kMGT]?B?"


class Warnings:
    """Warnings that stay true for as long as a computation runs, so that each is printed once."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._printed: set[str] = set()

    def warn_once(self, *texts: str) -> None:
        """Print those of TEXTS that were not printed before."""
        for text in texts:
            if text not in self._printed:
                self._printed.add(text)
                self.report.warn(text)


class CheckpointFailures:
    """The failed checkpoints of one computation."""

    def __init__(self, plan: Plan, warnings: Warnings) -> None:
        self._plan = plan
        self._warnings = warnings
        self._doubted: DmtcpRunError | None = None
        """The failure of a checkpoint in which the program died, until it is known whether it ended on its own."""
        self._doubted_until = 0.0
        self._printed = ""
        """The last warning, without its numbers."""
        self.last_error = ""
        self.is_for_another = False
        """Whether another engine was seen to handle what prevented the last checkpoint."""

    def add(self, done: CheckpointDone, newest: Manifest | None) -> None:
        """Take note of a failed checkpoint; NEWEST is the generation from which a resume would start."""
        self.last_error = str(done.error)
        self.is_for_another = isinstance(done.error, BlockedError) and done.error.for_another
        if done.program_lives:
            self._warn(done.error, newest, lives=True)
        else:
            # how it ended is often known a moment later
            self._doubted, self._doubted_until = done.error, time.monotonic() + _ENDS_WITHIN_S

    def end(self) -> None:
        """Take note of a checkpoint that did not fail: the next failure is worth a warning again."""
        self._printed = ""

    def add_seen(self, error: BlockedError) -> None:
        """Take note of what would prevent a checkpoint, for which the program is ended before one is due."""
        self.last_error, self.is_for_another = str(error), error.for_another

    def resolve_doubt(self, end: ProgramEnd | None, newest: Manifest | None) -> None:
        """Report a checkpoint in which the program died, unless it turns out that END was the program's own."""
        error = self._doubted
        if error is None or (end is None and time.monotonic() < self._doubted_until):
            return
        self._doubted = None
        if end is None or end.kind not in (EndKind.EXITED, EndKind.SIGNALLED, EndKind.UNSUITABLE):
            self._warn(error, newest, lives=False)

    def _warn(self, error: DmtcpRunError | None, newest: Manifest | None, *, lives: bool) -> None:
        raw = error.raw if isinstance(error, CheckpointFailedError) else ""
        self._plan.store.record("failed", what="checkpoint", error=str(error), raw=raw, lives=lives)
        text = f"checkpoint failed: {error}" + ("; the program continues to run" if lives else "")
        if not isinstance(error, BlockedError) or error.may_pass:
            # with each try sizes differ a little, and nothing else
            kind = re.sub(_NUMBER, "", text)
            if not lives or kind != self._printed:
                self._warnings.report.warn(text)
            self._printed = kind
        elif newest is None or self._plan.options.allow_unprotected:
            # it will be so for as long as the program is as it is
            self._warnings.warn_once(text)
        else:
            # it could be checkpointed before, and with each failure a resume would lose more
            self._warnings.report.warn(f"{text}, and a resume would start from generation {newest.generation}")
