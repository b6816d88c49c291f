"""How a computation under DMTCP ended: by exit status, the coordinator's log and DMTCP's own words. PURE."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.engine.protocol import EndKind, ProgramEnd

if TYPE_CHECKING:
    from dmtcp_py.engine.dmtcp.coordinator import LogState
    from dmtcp_py.system.child import ExitStatus


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was seen of the end of a computation."""

    exit_status: ExitStatus
    """That of its first process."""
    log: LogState
    coordinator_lived: bool
    failure: str | None
    """A failure that we know of ourselves."""
    message: str | None
    """DMTCP's own words for its failure."""
    fail_status: int
    """The status with which DMTCP was told to exit if it fails."""
    logs_failures: bool
    """Whether this version of DMTCP always leaves words for a failure."""
    last_that_ran_on: int
    """The number of the last checkpoint after which the program was seen to run, or that we let it end by."""


def judge(seen: Evidence) -> ProgramEnd:
    """Return how the computation ended."""
    if seen.log.kill_command is not None:
        return ProgramEnd(EndKind.KILLED_BY_COMMAND, detail=seen.log.kill_command)
    if seen.failure is not None:
        return ProgramEnd(EndKind.ENGINE_FAILED, detail=seen.failure)
    signum = seen.exit_status.signum
    if signum is not None and signum != signal.SIGABRT:
        return ProgramEnd(EndKind.SIGNALLED, signum=signum)
    failure = _failure_of_dmtcp(seen)
    if failure is not None:
        # also if DMTCP failed in another process: its parent may not have noticed
        return ProgramEnd(EndKind.ENGINE_FAILED, detail=failure)
    if signum is not None:
        return ProgramEnd(EndKind.SIGNALLED, signum=signum)
    if _was_killed_by_checkpoint(seen):
        return ProgramEnd(EndKind.KILLED_BY_COMMAND, detail="dmtcp_command -kc")
    return ProgramEnd(EndKind.EXITED, status=seen.exit_status.status or 0)


def _failure_of_dmtcp(seen: Evidence) -> str | None:
    if seen.message is not None:
        return seen.message
    if not seen.coordinator_lived:
        return "its coordinator died"
    in_checkpoint = seen.log.checkpoints_begun > seen.log.checkpoints_complete
    if seen.exit_status.status == seen.fail_status and (in_checkpoint or not seen.logs_failures):
        return f"DMTCP gave up with status {seen.fail_status}"
    return None


def _was_killed_by_checkpoint(seen: Evidence) -> bool:
    """Whether ``-kc`` ended it, ours or somebody's: 4.2 and 5.0 log nothing about that, and its status is 0.

    A process that ``-kc`` kills never runs again after its image, so an end with 0 is the program's own only if it was
    seen to run since. If in doubt it was killed: then the same line resumes it, and it comes to the same end.
    """
    return seen.exit_status.status == 0 and seen.log.checkpoints_begun > seen.last_that_ran_on
