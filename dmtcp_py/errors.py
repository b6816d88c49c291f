"""The errors that dmtcp-run reports, and nothing about how they are shown.

Each is raised where the fact is known: ``what`` failed, with the path, command or value; ``hint`` is the next
step, written so that it can be typed. The command lines turn them into text and an exit status, in one place.
"""

from __future__ import annotations

FAILED_STATUS = 125
"""The exit status of dmtcp-run when it failed itself, as env(1) and timeout(1) use it."""


class DmtcpRunError(Exception):
    """Something that the user can act on."""

    status = FAILED_STATUS

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


class UsageError(DmtcpRunError):
    """The command line asks for something that cannot be meant."""

    status = 2


class CannotExecuteError(DmtcpRunError):
    """The program is there but cannot be executed, as env(1) reports it."""

    status = 126


class ProgramNotFoundError(DmtcpRunError):
    """There is no such program, as env(1) reports it."""

    status = 127


class NoSuchJobError(DmtcpRunError):
    """There is no such job or generation."""

    status = 10


class LockedError(DmtcpRunError):
    """Another attempt holds the job."""

    status = 11


class StoreError(DmtcpRunError):
    """The job directory cannot be read or written as it must be."""


class NewerFormatError(StoreError):
    """A record was written by a newer dmtcp-py."""


class FencedError(StoreError):
    """A later attempt has taken the job over: this one may write nothing more."""


class EngineError(DmtcpRunError):
    """The engine cannot do what was asked."""


class CheckpointFailedError(EngineError):
    """No complete images came of a checkpoint.

    ``program_lives`` says whether the program goes on as if nothing had been asked.
    """

    def __init__(self, what: str, hint: str = "", *, program_lives: bool) -> None:
        super().__init__(what, hint)
        self.program_lives = program_lives


class BlockedError(CheckpointFailedError):
    """Nothing was begun: something of the program is there that the engine cannot take."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint, program_lives=True)


class RestartFailedError(EngineError):
    """The images of one generation did not come up."""


class BatchError(DmtcpRunError):
    """The scheduler does not answer, or refuses what was asked."""


class NoResubmissionError(BatchError):
    """No line submits the batch job again as it was; the hint says what the user can do."""
