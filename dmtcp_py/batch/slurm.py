"""Slurm, by its own commands: when a job ends, what becomes of it, how it goes on. No other module knows them.

No Python binding fits all versions in use, so what ``squeue`` and ``scontrol show job`` print is read.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.batch.scheduler import BatchJob, BatchState
from dmtcp_py.errors import BatchError, EngineError, NoResubmissionError
from dmtcp_py.system.proc import command_of
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANSWER_S = 20.0
_FIELDS = (
    "JobID",
    "ArrayJobID",
    "ArrayTaskID",
    "State",
    "EndTime",
    "StartTime",
    "Requeue",
    "RestartCnt",
    "TimeLimit",
    "Reason",
)
_STATES = {
    BatchState.WAITING: ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
    BatchState.RUNNING: ("RUNNING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT"),
    BatchState.SUSPENDED: ("SUSPENDED", "STOPPED"),
    BatchState.CANCELLED: ("CANCELLED", "REVOKED"),
    BatchState.PREEMPTED: ("PREEMPTED",),
    BatchState.TIMED_OUT: ("TIMEOUT", "DEADLINE"),
}
_STATE = {text: state for state, texts in _STATES.items() for text in texts}
_NONE = ("", "(null)", "N/A", "None", "Unknown", "UNLIMITED")
_NO_LIMIT = ("UNLIMITED", "365-00:00:00")
"""What stands for no limit: where the backfill scheduler started the job, a year."""
_KEY = re.compile(r"(?:^|(?<= ))([A-Z][A-Za-z/:]*)=")
_WHOLE_LINES = ("Command", "WorkDir", "StdErr", "StdIn", "StdOut", "Comment")
_OPTIONS = {
    "JobName": "--job-name",
    "Partition": "--partition",
    "Account": "--account",
    "QOS": "--qos",
    "Reservation": "--reservation",
    "TimeLimit": "--time",
    "NumNodes": "--nodes",
    "NumTasks": "--ntasks",
    "NtasksPerN:B:S:C": "--ntasks-per-node",
    "CPUs/Task": "--cpus-per-task",
    "MinMemoryNode": "--mem",
    "MinMemoryCPU": "--mem-per-cpu",
    "MinTmpDiskNode": "--tmp",
    "TresPerNode": "--gres",
    "TresPerJob": "--gpus",
    "TresPerTask": "--gpus-per-task",
    "TresPerSocket": "--gpus-per-socket",
    "CpusPerTres": "--cpus-per-gpu",
    "MemPerTres": "--mem-per-gpu",
    "Licenses": "--licenses",
    "Features": "--constraint",
    "ReqNodeList": "--nodelist",
    "ExcNodeList": "--exclude",
    "Nice": "--nice",
    "MailUser": "--mail-user",
    "MailType": "--mail-type",
    "ArrayTaskId": "--array",
    "Comment": "--comment",
    "WorkDir": "--chdir",
    "StdIn": "--input",
    "StdOut": "--output",
    "StdErr": "--error",
}
"""Which option of sbatch(1) gives a job what ``scontrol show job`` prints of it."""
_FLAGS = {
    ("OverSubscribe", "NO"): "--exclusive",
    ("OverSubscribe", "USER"): "--exclusive=user",
    ("OverSubscribe", "YES"): "--oversubscribe",
    ("Contiguous", "1"): "--contiguous",
    ("Requeue", "0"): "--no-requeue",
}
_ZERO_IS_NONE = ("MinTmpDiskNode", "NtasksPerN:B:S:C", "Nice")


class Slurm:
    """The Slurm whose commands are on PATH."""

    name = "Slurm"

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, or all of this user's."""
        which = ["--me"] if job_id is None else ["--jobs", job_id]
        columns = ",".join(f"{name}:|" for name in _FIELDS)
        try:
            output = _ask(["squeue", "--noheader", "--states=all", *which, "--Format", columns])
        except BatchError as error:
            if _UNKNOWN in error.what:
                return []
            raise
        jobs = [_job(line) for line in output.splitlines() if line.count("|") >= len(_FIELDS)]
        for job in jobs:
            _addresses[job.job_id] = job.job_id if job.array_task is None else f"{job.array}_{job.array_task}"
        return jobs

    def comes_back(self, status: int) -> bool:
        """Return whether this site requeues every job that exits with STATUS (RequeueExit in slurm.conf)."""
        settings = dict(line.partition("=")[::2] for line in _ask(["scontrol", "show", "config"]).splitlines())
        found = [value for name, value in settings.items() if name.strip() in ("RequeueExit", "RequeueExitHold")]
        return any(_covers(part.strip(), status) for value in found for part in value.split(","))

    def nodes(self) -> Sequence[str]:
        """Return the names of the nodes of the allocation around us, this one first; nothing where it has one."""
        if os.environ.get("SLURM_JOB_NUM_NODES", "1") == "1":
            return ()
        names = _ask(["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")]).split()
        here = os.environ.get("SLURMD_NODENAME", "")
        if here not in names:
            raise BatchError(
                "this is no node of the allocation", "run the line in the batch script, or --nodes 1 for one node"
            )
        return (here, *(name for name in names if name != here))

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""
        # beside whatever else runs there, with all that the job has of the node
        shares = ["--overlap", "--mem=0", "--cpu-bind=none", "--mpi=none", "--export=ALL", "--kill-on-bad-exit=0"]
        return ["srun", "--quiet", f"--nodelist={name}", "--nodes=1", "--ntasks=1", *shares, *command]

    def requeue(self, job_id: str) -> Sequence[str]:
        """Return the command that puts job JOB_ID, which runs, back into the queue."""
        return ["scontrol", "requeue", _address(job_id)]

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:
        """Keep the batch script of job JOB_ID in SCRIPT; return the command that submits it again, to run after it."""
        facts = _facts(_ask(["scontrol", "show", "job", _address(job_id)]))
        script.unlink(missing_ok=True)
        # not the file that was submitted: that may have been changed since, or never have been a file
        _ask(["scontrol", "write", "batch_script", _address(job_id), str(script)])
        if not script.is_file():
            raise NoResubmissionError(
                f"job {job_id} has no batch script", "type the same dmtcp-run line in a new allocation"
            )
        after = ["--open-mode=append", f"--dependency=afterany:{_address(job_id)}"]
        return ["sbatch", "--parsable", *_options(facts), *after, str(script), *_words(facts.get("Command", ""))]


_UNKNOWN = "Invalid job id"
_SILENT = "Unable to contact slurm controller"


def _covers(part: str, status: int) -> bool:
    """Return whether STATUS is in PART of a list such as ``1,10-20``."""
    low, _, high = part.partition("-")
    return low.isdecimal() and int(low) <= status <= int(high or low)


_addresses: dict[str, str] = {}
"""What `_address` gave before: a controller that is silent later is not asked again."""


def _address(job_id: str) -> str:
    """Return the name by which Slurm means job JOB_ID alone: one task of an array has the id of the whole array.

    Slurm is asked, as a job that was submitted from within an array's task inherits that one's names.
    """
    if job_id not in _addresses:
        with suppress(BatchError):
            Slurm().query(job_id)
    return _addresses.get(job_id, job_id)


def _ask(argv: Sequence[str]) -> str:
    """Return what a command of Slurm's prints. Raises BatchError where it fails, or does not answer in time."""
    # what a user or site has squeue leave out, or print otherwise, is not meant for us
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SCONTROL_"))}
    # seconds since the epoch, which no time zone changes
    environ["SLURM_TIME_FORMAT"] = "%s"
    try:
        result = run_tool(argv, timeout_s=_ANSWER_S, env=environ)
    except EngineError as error:
        raise BatchError(f"Slurm does not answer: {error.what}", "look at 'sinfo' and 'scontrol ping'") from error
    if result.status != 0:
        said = " ".join(result.output.split()) or f"status {result.status}"
        problem = "Slurm does not answer" if _SILENT in said else f"'{' '.join(argv[:2])}' failed"
        raise BatchError(
            f"{problem}: {said}",
            "look at 'sinfo' and 'scontrol ping'",
        )
    return result.output


def _job(line: str) -> BatchJob:
    job_id, array, task, state, ends, starts, requeue, restarts, limit, reason = line.split("|")[: len(_FIELDS)]
    return BatchJob(
        job_id=job_id,
        array=array if task.isdecimal() else None,
        array_task=task if task.isdecimal() else None,
        state=_state(state, reason),
        ends=float(ends) if ends.isdecimal() and limit not in _NO_LIMIT else None,
        starts=float(starts) if starts.isdecimal() else None,
        restarts=int(restarts) if restarts.isdecimal() else 0,
        can_requeue=requeue == "1",
        reason="" if reason in _NONE else reason,
    )


def _state(text: str, reason: str) -> BatchState:
    """Return the state; while a job is being ended only the reason tells a time limit from anything else."""
    if reason == "TimeLimit":
        return BatchState.TIMED_OUT
    return _STATE.get(text, BatchState.ENDED)


def _options(facts: dict[str, str]) -> list[str]:
    """Return the options of sbatch that a job with these FACTS was submitted with."""
    found = [flag for (key, value), flag in _FLAGS.items() if facts.get(key) == value]
    for key, option in _OPTIONS.items():
        value = facts.get(key, "")
        if key.startswith("Ntasks"):
            value = value.partition(":")[0]
        if "gpu" in option:
            value = value.replace("gres:gpu:", "")
        if value not in (*_NONE, *_NO_LIMIT) and not (value == "0" and key in _ZERO_IS_NONE):
            found.append(f"{option}={value}")
    return found


def _facts(text: str) -> dict[str, str]:
    """Return keys and values of ``scontrol show job``; some values have spaces, and then a line of their own."""
    found: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        key, _, value = line.partition("=")
        if key in _WHOLE_LINES:
            found[key] = value
        elif line.startswith("JobId="):
            head, _, found["JobName"] = line.partition(" JobName=")
            found |= _pairs(head)
        else:
            found |= _pairs(line)
    return found


def _pairs(line: str) -> dict[str, str]:
    found = list(_KEY.finditer(line))
    ends = [*(match.start() for match in found[1:]), len(line)]
    # a line without a key has an end all the same
    return {match[1]: line[match.end() : end].strip() for match, end in zip(found, ends, strict=False)}


def _words(command: str) -> list[str]:
    """Return the arguments of the batch script: from the shell that runs it, else as Slurm prints them.

    Slurm prints them with blanks between, and after ``exec`` the shell is gone.
    """
    pid = os.getppid()
    while pid > 1:
        words, pid = command_of(pid)
        for place, word in enumerate(words):
            if Path(word).name == "slurm_script":
                return words[place + 1 :]
    if " " in command:
        raise NoResubmissionError(
            "below 'exec' the arguments of the batch script cannot be known", "submit it by hand, as you did before"
        )
    return []
