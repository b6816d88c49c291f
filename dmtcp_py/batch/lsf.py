"""IBM Spectrum LSF 9.1 or later, through its commands. No other module knows them.

Not run against LSF, which cannot be had freely: the output of ``bjobs -o`` is as its users have recorded it. A job is
requeued for its exit status where ``bsub -Q`` or the queue says so (REQUEUE_EXIT_VALUES), otherwise with brequeue(1).
"""

from __future__ import annotations

import calendar
import os
import re
import time
from typing import TYPE_CHECKING

from dmtcp_py.batch.commands import ask
from dmtcp_py.batch.scheduler import BatchJob, BatchState
from dmtcp_py.errors import BatchError, NoResubmissionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FIELDS = ("jobid", "jobindex", "stat", "start_time", "submit_time", "time_left")
_STATE = {
    "PEND": BatchState.WAITING,
    "PSUSP": BatchState.WAITING,
    "WAIT": BatchState.WAITING,
    "RUN": BatchState.RUNNING,
    "PROV": BatchState.RUNNING,
    "UNKWN": BatchState.RUNNING,
    "USUSP": BatchState.SUSPENDED,
    "SSUSP": BatchState.SUSPENDED,
}
_UNKNOWN_JOB = re.compile(r"Job <[^>]*> is not found|No (unfinished )?job found")
_TIME_LEFT = re.compile(r"(\d+):(\d+) L")
"""Hours and minutes until the run limit. With another letter than L it is an estimate, at which nothing ends."""
_CHECKPOINTED = 85
_YEAR_S = 365 * 86400.0
_SEVERAL = 2


class Lsf:
    """The LSF whose commands are on PATH."""

    name = "LSF"
    users_requeue = True

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, the tasks of array JOB_ID, or all jobs of this user."""
        columns = f"{' '.join(_FIELDS)} delimiter='|'"
        # times in UTC, as they name neither a zone nor a year
        environ = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
        argv = ["bjobs", "-a", "-noheader", "-o", columns, *([] if job_id is None else [job_id])]
        try:
            output = ask(argv, scheduler="LSF", check="bjobs", down="LSF is down", env=environ)
        except BatchError as error:
            if _UNKNOWN_JOB.search(error.what):
                return []
            raise
        lines = (line.split("|") for line in output.splitlines())
        return [_job(fields, time.time()) for fields in lines if len(fields) == len(_FIELDS)]

    def requeues_status(self, status: int) -> bool:
        """Return whether the job around us is requeued if it exits with STATUS; see REQUEUE_EXIT_VALUES."""
        return _covers(os.environ.get("LSB_EXIT_REQUEUE", ""), status)

    def nodes(self) -> Sequence[str]:
        """Return the node names of the allocation around us, this node first; empty if it has only one node."""
        # LSB_MCPU_HOSTS is "HOST SLOTS HOST SLOTS ..."; the first is that of the batch script
        names = list(dict.fromkeys(os.environ.get("LSB_MCPU_HOSTS", "").split()[::2]))
        return names if len(names) >= _SEVERAL else ()

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""
        return ["blaunch", name, *command]

    def requeue(self, job_id: str) -> Sequence[str]:
        """Return the command that requeues the running job JOB_ID; none if its exit status does that."""
        return [] if self.requeues_status(_CHECKPOINTED) else ["brequeue", job_id]

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:  # noqa: ARG002 - the Protocol's
        """Raise NoResubmissionError: LSF requeues."""
        raise NoResubmissionError("under LSF dmtcp-run does not resubmit jobs", f"run: brequeue -d -e {job_id}")


def _job(fields: Sequence[str], now: float) -> BatchJob:
    number, index, state, started, submitted, left = (field.strip() for field in fields)
    is_task = index not in ("", "-", "0")
    match = _TIME_LEFT.fullmatch(left)
    return BatchJob(
        job_id=f"{number}[{index}]" if is_task else number,
        state=_STATE.get(state, BatchState.ENDED),
        array=number if is_task else None,
        array_task=index if is_task else None,
        # whole minutes: rather too early than too late
        ends=now + 60.0 * (60 * int(match[1]) + int(match[2])) if match else None,
        starts=_time(started, now),
        submitted=_time(submitted, now),
        restarts=None,
    )


def _time(text: str, now: float) -> float | None:
    """Return a moment such as ``Mar  3 16:46``, in UTC, as the last one before NOW; None for ``-``."""
    for year in (time.gmtime(now).tm_year, time.gmtime(now - _YEAR_S).tm_year):
        try:
            found = time.strptime(f"{year} {text} UTC", "%Y %b %d %H:%M %Z")
        except ValueError:
            continue
        seconds = float(calendar.timegm(found))
        if seconds <= now:
            return seconds
    return None


def _covers(values: str, status: int) -> bool:
    """Return whether STATUS is among VALUES such as ``all ~0 ~1`` or ``85 99 EXCLUDE(20)``."""
    words = re.sub(r"EXCLUDE\(([^)]*)\)", r" \1 ", values).split()
    return f"~{status}" not in words and ("all" in words or str(status) in words)
