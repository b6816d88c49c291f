"""Grid Engine (SGE, Son of Grid Engine, Univa and Altair), through its commands. No other module knows them.

A job that ends with status 99 is requeued: qsub(1), option ``-r``. Users have no other way, as ``qmod -rj`` is for
operators. The job ends at its soft limit already: the SIGUSR1 of ``s_rt`` reaches the shell too, which dies of it.
"""

from __future__ import annotations

import getpass
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from dmtcp_py.batch.commands import ask
from dmtcp_py.batch.scheduler import BatchJob, BatchState
from dmtcp_py.errors import BatchError, NoResubmissionError

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEUE_STATUS = 99
_STATES = (
    # qstat(1), the state column: letters that may stand together, the ones that decide first
    ("d", BatchState.CANCELLED),
    ("E", BatchState.WAITING),
    ("q", BatchState.WAITING),
    ("s", BatchState.SUSPENDED),
    ("S", BatchState.SUSPENDED),
    ("T", BatchState.SUSPENDED),
    ("P", BatchState.SUSPENDED),
    ("N", BatchState.SUSPENDED),
    ("r", BatchState.RUNNING),
    ("t", BatchState.RUNNING),
)
_LIMITS = ("h_rt", "s_rt")
_SPOOL = "SGE_JOB_SPOOL_DIR"
_SEVERAL = 2


class GridEngine:
    """The Grid Engine whose commands are on PATH."""

    name = "Grid Engine"
    users_requeue = True

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, the tasks of array JOB_ID, or all jobs of this user."""
        # times in UTC, so that none is ambiguous
        environ = {**os.environ, "TZ": "UTC"}
        output = _ask(["qstat", "-u", getpass.getuser(), "-r", "-g", "d", "-xml"], environ)
        try:
            found = ET.fromstring(output).iter("job_list")  # noqa: S314 - the site's own scheduler
            jobs = [_job(element) for element in found]
        except (ET.ParseError, ValueError) as error:
            raise BatchError(f"the output of 'qstat -xml' cannot be read: {error}", "check with 'qstat'") from error
        return [job for job in jobs if job_id in (None, job.job_id, job.array)]

    def requeues_status(self, status: int) -> bool:
        """Return whether this site requeues every job that exits with STATUS."""
        return status == REQUEUE_STATUS and not _forbids_requeue()

    def nodes(self) -> Sequence[str]:
        """Return the node names of the parallel environment around us, this node first; empty if it has only one."""
        path = os.environ.get("PE_HOSTFILE", "")
        if not path:
            return ()
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise BatchError(f"the list of nodes cannot be read: {error}", "add --nodes 1") from error
        # sge_pe(5): the first one is that of the batch script
        names = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
        return names if len(names) >= _SEVERAL else ()

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""
        return ["qrsh", "-inherit", "-nostdin", "-V", name, *command]

    def requeue(self, job_id: str) -> Sequence[str]:  # noqa: ARG002 - the same for all
        """Return no command: the exit status requeues a job."""
        return []

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:  # noqa: ARG002 - the Protocol's
        """Raise NoResubmissionError: ``qresub`` cannot make the new job wait for the end of JOB_ID."""
        number, _, task = job_id.partition(".")
        again = f"submit its script again with -t {task}" if task else f"run: qresub {number}"
        raise NoResubmissionError("under Grid Engine dmtcp-run does not resubmit jobs", again)


def _ask(argv: Sequence[str], environ: dict[str, str]) -> str:
    return ask(argv, scheduler="Grid Engine", check="qstat -f", env=environ)


def _job(element: ET.Element) -> BatchJob:
    number, task, state = element.findtext("JB_job_number", ""), element.findtext("tasks"), element.findtext("state")
    job_id = f"{number}.{task}" if task else number
    starts = _time(element.findtext("JAT_start_time"))
    limit_s = _limit_s(element, is_ours=job_id == _own_id())
    return BatchJob(
        job_id=job_id,
        state=_state(state or ""),
        array=number if task else None,
        array_task=task,
        starts=starts,
        ends=starts + limit_s if starts is not None and limit_s is not None else None,
        submitted=_time(element.findtext("JB_submission_time")),
        restarts=None,
        can_requeue=not _forbids_requeue(),
        no_requeue_because="this site does not requeue jobs for status 99 (FORBID_RESCHEDULE)",
    )


def _state(letters: str) -> BatchState:
    return next((state for letter, state in _STATES if letter in letters), BatchState.ENDED)


def _time(text: str | None) -> float | None:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() if text else None


def _own_id() -> str:
    job, task = os.environ.get("JOB_ID", ""), os.environ.get("SGE_TASK_ID", "undefined")
    return job if task == "undefined" else f"{job}.{task}"


def _limit_s(element: ET.Element, *, is_ours: bool) -> float | None:
    """Return how long a job may run, which is what it requested; for OUR job without a request, what its queue says."""
    requested = {one.get("name", ""): one.text or "" for one in element.iter("hard_request")}
    texts = {name: text for name, text in requested.items() if name in _LIMITS}
    if is_ours:
        texts = {**_queue_limits(element.findtext("queue_name", "")), **texts}
    return min((limit for text in texts.values() if (limit := _seconds(text)) is not None), default=None)


def _queue_limits(instance: str) -> dict[str, str]:
    """Return the limits of queue INSTANCE, which is ``QUEUE@HOST``; see queue_conf(5)."""
    queue, _, host = instance.partition("@")
    try:
        output = _ask(["qconf", "-sq", queue], dict(os.environ)) if queue else ""
    except BatchError:
        return {}
    words = (line.split(maxsplit=1) for line in output.replace("\\\n", " ").splitlines())
    limits = {pair[0]: pair[1].replace(" ", "") for pair in words if pair[0] in _LIMITS}
    return {name: _of_host(text, host) for name, text in limits.items()}


def _of_host(text: str, host: str) -> str:
    """Return the value for HOST in TEXT such as ``24:00:00,[node1=48:00:00],[@big=96:00:00]``."""
    general, *special = text.split(",[")
    return next((one.rstrip("]")[len(host) + 1 :] for one in special if one.startswith(f"{host}=")), general)


def _seconds(text: str) -> float | None:
    """Return a time limit in seconds; None for INFINITY and for what is no time. See sge_types(1)."""
    parts = text.split(":")
    if not text or not all(part.isdecimal() for part in parts if part):
        return None
    return sum(float(part or 0) * 60.0**place for place, part in enumerate(reversed(parts)))


def _forbids_requeue() -> bool:
    """Whether the site ignores status 99, which the files of the job around us say."""
    spool = os.environ.get(_SPOOL)
    try:
        return spool is not None and "forbid_reschedule=1" in (Path(spool) / "config").read_text().split()
    except (OSError, UnicodeDecodeError):
        return False
