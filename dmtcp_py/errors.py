"""The errors that dmtcp-run reports. How they are printed is decided in `dmtcp_py.cli.common`.

An error is raised where its cause is known. ``what`` says what failed, with the path, command or value; ``hint`` is
the next step, worded so that it can be typed.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED_STATUS = 125
"""Exit status if dmtcp-run itself failed, as in env(1) and timeout(1)."""


class DmtcpRunError(Exception):
    """A failure that the user can act on."""

    status = FAILED_STATUS

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


class UsageError(DmtcpRunError):
    """The command line is invalid or contradicts itself."""

    status = 2


class UnusableProgramError(DmtcpRunError):
    """The program cannot be run. INSTEAD is a command that can be, if one is known, and ADVICE what leads to it."""

    def __init__(self, what: str, hint: str = "", *, instead: Sequence[str] = (), advice: str = "type") -> None:
        super().__init__(what, hint)
        self.instead = tuple(instead)
        self._advice = advice
        self.be_typed_after(())

    def be_typed_after(self, words: Sequence[str]) -> None:
        """Have the hint name the whole line, which begins with WORDS."""
        if self.instead:
            self.hint = f"{self._advice}: {shlex.join((*words, *self.instead))}"


class CannotExecuteError(UnusableProgramError):
    """The program exists but cannot be executed; same status as in env(1)."""

    status = 126


class ProgramNotFoundError(UnusableProgramError):
    """The program does not exist; same status as in env(1)."""

    status = 127


class NoSuchJobError(DmtcpRunError):
    """The job or generation does not exist."""

    status = 10


class LockedError(DmtcpRunError):
    """Another attempt holds the lock of the job."""

    status = 11


class StoreError(DmtcpRunError):
    """The job directory cannot be read or written, or what is in it is damaged."""


class MovedError(StoreError):
    """The unfinished job was started in directory OLD, which has another path now."""

    def __init__(self, what: str, hint: str, *, old: str) -> None:
        super().__init__(what, hint)
        self.old = old


class NewerFormatError(StoreError):
    """A record was written by a newer dmtcp-py."""


class FencedError(StoreError):
    """Another attempt has taken over the job, so this one may not write anything more."""

    status = LockedError.status


class EngineError(DmtcpRunError):
    """A checkpointing engine, or another tool, failed or cannot do what was requested."""


class CheckpointFailedError(EngineError):
    """A checkpoint produced no complete images.

    ``program_lives`` says whether the program continues as if no checkpoint had been requested; ``raw`` is the engine's
    own message, for the history.
    """

    def __init__(self, what: str, hint: str = "", *, program_lives: bool, raw: str = "") -> None:
        super().__init__(what, hint)
        self.program_lives = program_lives
        self.raw = raw


class BlockedError(CheckpointFailedError):
    """The checkpoint was not begun, because the program uses something that the engine cannot checkpoint.

    ``for_another`` says whether the other engine was seen to handle it, ``may_pass`` whether programs usually use it
    for moments only.
    """

    def __init__(self, what: str, hint: str = "", *, for_another: bool = False, may_pass: bool = False) -> None:
        super().__init__(what, hint, program_lives=True)
        self.for_another = for_another
        self.may_pass = may_pass


class RestartFailedError(EngineError):
    """The program could not be restarted from the images of a generation."""


class FilesChangedError(RestartFailedError):
    """A file is not what the program left, and the images are good: the user decides, and no older one is tried."""


class RestartDisturbedError(RestartFailedError):
    """The restart was stopped or killed from outside. The images may be good: it may succeed the next time."""


class RestartHungError(RestartDisturbedError):
    """The restart came to no end. It may come to one the next time."""


class BatchError(DmtcpRunError):
    """The scheduler does not answer or refuses a request."""


class NoResubmissionError(BatchError):
    """No command submits the same batch job again; the hint says what the user can do instead."""
