"""The exit status with which a scheduler restarts an unfinished job automatically."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.batch.requeue import LIMIT, MOST_WITHOUT_PROGRESS, REQUEST
from dmtcp_py.errors import FAILED_STATUS

if TYPE_CHECKING:
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.messages import Report


def status_to_exit_with(
    allocation: Allocation, report: Report, *, stopped_for: str | None, status: int, without_progress: int
) -> int:
    """Return the exit status with which the scheduler does what is wanted; STATUS is the one otherwise.

    STOPPED_FOR is the reason for the last checkpoint; WITHOUT_PROGRESS counts attempts in a row, this one included.
    """
    if stopped_for not in (LIMIT, REQUEST):
        # evicted, or failed: what follows is not for us to decide
        return status
    if status != allocation.restart_status:
        if stopped_for == LIMIT:
            report.warn(
                f"{allocation.scheduler} does not start the job again; to have it do so, set checkpoint_exit_code = "
                f"{status} in the submit file"
            )
        return status
    if stopped_for == REQUEST:
        text = f"exiting with {FAILED_STATUS}, because {allocation.scheduler} starts jobs that exit with {status} again"
        report.say(text, event="status", status=FAILED_STATUS)
        return FAILED_STATUS
    if without_progress < MOST_WITHOUT_PROGRESS:
        return status
    text = f"{without_progress} attempts in a row made no progress"
    report.warn(f"{text}: exiting with {FAILED_STATUS}; the time limit may be too short, or checkpoints fail")
    return FAILED_STATUS
