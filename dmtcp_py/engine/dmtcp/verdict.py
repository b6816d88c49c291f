"""How a computation under DMTCP ended, judged by exit status, the coordinator's log and DMTCP's messages. PURE."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.dmtcp.assertions import explained
from dmtcp_py.engine.dmtcp.obstacles import USE_CRIU
from dmtcp_py.engine.protocol import EndKind, ProgramEnd

if TYPE_CHECKING:
    from dmtcp_py.engine.dmtcp.coordinator import LogState
    from dmtcp_py.engine.dmtcp.refusals import Refusal
    from dmtcp_py.system.child import ExitStatus


class Evidence(Struct, frozen=True, kw_only=True):
    """What is known about the end of a computation."""

    exit_status: ExitStatus
    """The exit status of its first process."""
    log: LogState
    coordinator_lived: bool
    failure: str | None
    """A failure that dmtcp-run noticed itself."""
    message: str | None
    """DMTCP's message about its failure."""
    refusal: Refusal | None
    """What DMTCP refused the program shortly before it ended."""
    fail_status: int
    """The status with which DMTCP exits if it fails."""
    logs_failures: bool
    """Whether this version of DMTCP always leaves a message about its failure."""
    last_survived_checkpoint: int
    """The number of the last checkpoint after which the program ran on."""
    has_hung: bool = False
    """Whether the failure is that a checkpoint came to no end."""


def judge(seen: Evidence) -> ProgramEnd:
    """Return how the computation ended."""
    if seen.log.kill_command is not None:
        return ProgramEnd(EndKind.KILLED_BY_COMMAND, detail=seen.log.kill_command)
    if seen.failure is not None:
        return ProgramEnd(EndKind.ENGINE_FAILED, detail=seen.failure, raw=seen.message or "", has_hung=seen.has_hung)
    signum = seen.exit_status.signum
    if signum is not None and signum != signal.SIGABRT:
        return ProgramEnd(EndKind.SIGNALLED, signum=signum)
    failure = _failure_of_dmtcp(seen)
    if failure is not None:
        # this may have been in another process, whose parent did not notice
        return ProgramEnd(
            EndKind.ENGINE_FAILED, detail=failure, raw=seen.message or "", for_another=USE_CRIU in failure
        )
    if signum is not None:
        return ProgramEnd(EndKind.SIGNALLED, signum=signum)
    if _was_killed_by_checkpoint(seen):
        return ProgramEnd(EndKind.KILLED_BY_COMMAND, detail="dmtcp_command -kc")
    status = seen.exit_status.status or 0
    if status and seen.refusal is not None:
        return ProgramEnd(
            EndKind.UNSUITABLE,
            status=status,
            detail=f"it ended with status {status} after DMTCP had refused it {seen.refusal.what}; {seen.refusal.hint}",
            for_another=USE_CRIU in seen.refusal.hint,
        )
    return ProgramEnd(EndKind.EXITED, status=status)


def _failure_of_dmtcp(seen: Evidence) -> str | None:
    if seen.message is not None:
        return explained(seen.message)
    if not seen.coordinator_lived:
        return "its coordinator died"
    in_checkpoint = seen.log.checkpoints_begun > seen.log.checkpoints_complete
    if seen.exit_status.status == seen.fail_status and (in_checkpoint or not seen.logs_failures):
        return f"DMTCP failed with status {seen.fail_status}"
    return None


def _was_killed_by_checkpoint(seen: Evidence) -> bool:
    """Return whether any ``dmtcp_command -kc`` ended it: 4.2 and 5.0 do not log that, and the status is 0.

    A process that ``-kc`` kills does not run after its image, so status 0 is the program's own only if the program was
    seen running since. In doubt it counts as killed: the same line then resumes it, and it ends in the same way.
    """
    return seen.exit_status.status == 0 and seen.log.checkpoints_begun > seen.last_survived_checkpoint
