"""Slurm, through its commands: the state and end of a job, requeueing and resubmitting. No other module knows them.

No Python binding fits all versions in use, so the output of ``squeue`` and ``scontrol show job`` is parsed.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.batch.commands import ask
from dmtcp_py.batch.scheduler import BatchJob, BatchState
from dmtcp_py.errors import BatchError, NoResubmissionError
from dmtcp_py.system.proc import command_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    "SubmitTime",
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
"""Time limits that mean none. A job without a limit that the backfill scheduler started shows a year."""
_KEY = r"(?:^|(?<= ))([A-Z][A-Za-z/:]*)="
_WHOLE_LINE_KEYS = ("Command", "WorkDir", "StdErr", "StdIn", "StdOut", "Comment")
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
"""The option of sbatch(1) that sets the value that ``scontrol show job`` prints under each key."""
_FLAGS = {
    ("OverSubscribe", "NO"): "--exclusive",
    ("OverSubscribe", "USER"): "--exclusive=user",
    ("OverSubscribe", "YES"): "--oversubscribe",
    ("Contiguous", "1"): "--contiguous",
    ("Requeue", "0"): "--no-requeue",
}
_UNSET_IF_ZERO = ("MinTmpDiskNode", "NtasksPerN:B:S:C", "Nice")


class Slurm:
    """The Slurm whose commands are on PATH."""

    name = "Slurm"
    users_requeue = True

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, or all jobs of this user."""
        which = ["--me"] if job_id is None else ["--jobs", job_id]
        columns = ",".join(f"{name}:|" for name in _FIELDS)
        try:
            output = _ask(["squeue", "--noheader", "--states=all", *which, "--Format", columns])
        except BatchError as error:
            if _UNKNOWN_JOB in error.what:
                return []
            raise
        jobs = [_job(line) for line in output.splitlines() if line.count("|") >= len(_FIELDS)]
        for job in jobs:
            _unique_ids[job.job_id] = job.job_id if job.array_task is None else f"{job.array}_{job.array_task}"
        return jobs

    def requeues_status(self, status: int) -> bool:
        """Return whether this site requeues every job that exits with STATUS (RequeueExit in slurm.conf)."""
        settings = dict(line.partition("=")[::2] for line in _ask(["scontrol", "show", "config"]).splitlines())
        found = [value for name, value in settings.items() if name.strip() in ("RequeueExit", "RequeueExitHold")]
        return any(_is_in_range(part.strip(), status) for value in found for part in value.split(","))

    def nodes(self) -> Sequence[str]:
        """Return the node names of the allocation around us, this node first; empty if it has only one node."""
        if os.environ.get("SLURM_JOB_NUM_NODES", "1") == "1":
            return ()
        names = _ask(["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")]).split()
        here = os.environ.get("SLURMD_NODENAME", "")
        if here not in names:
            raise BatchError(
                "this machine is not a node of the allocation", "run the line in the batch script, or add --nodes 1"
            )
        return (here, *(name for name in names if name != here))

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""
        # beside other steps, with all CPUs and memory that the job has on the node
        shares = ["--overlap", "--mem=0", "--cpu-bind=none", "--mpi=none", "--export=ALL", "--kill-on-bad-exit=0"]
        return ["srun", "--quiet", f"--nodelist={name}", "--nodes=1", "--ntasks=1", *shares, *command]

    def requeue(self, job_id: str) -> Sequence[str]:
        """Return the command that requeues the running job JOB_ID."""
        return ["scontrol", "requeue", _unique_id(job_id)]

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:
        """Save the batch script of job JOB_ID in SCRIPT; return the command that resubmits it, to run after JOB_ID."""
        fields = _job_fields(_ask(["scontrol", "show", "job", _unique_id(job_id)]))
        script.unlink(missing_ok=True)
        # not the file that was submitted, which may have changed since, or may have been standard input
        _ask(["scontrol", "write", "batch_script", _unique_id(job_id), str(script)])
        if not script.is_file():
            raise NoResubmissionError(
                f"job {job_id} has no batch script", "run the same dmtcp-run line in a new allocation"
            )
        after = ["--open-mode=append", f"--dependency=afterany:{_unique_id(job_id)}"]
        return [
            "sbatch",
            "--parsable",
            *_options(fields),
            *after,
            str(script),
            *_script_arguments(fields.get("Command", "")),
        ]


_UNKNOWN_JOB = "Invalid job id"
_NO_CONTROLLER = "Unable to contact slurm controller"


def _is_in_range(part: str, status: int) -> bool:
    """Return whether STATUS is in PART of a list such as ``1,10-20``."""
    low, _, high = part.partition("-")
    return low.isdecimal() and int(low) <= status <= int(high or low)


_unique_ids: dict[str, str] = {}
"""Results of `_unique_id`, so that it also works later while the controller does not answer."""


def _unique_id(job_id: str) -> str:
    """Return the id that means job JOB_ID alone, which may be an array task that has the id of its whole array.

    Slurm is asked, because a job that was submitted from within an array task inherits the variables of that task.
    """
    if job_id not in _unique_ids:
        with suppress(BatchError):
            Slurm().query(job_id)
    return _unique_ids.get(job_id, job_id)


def _ask(argv: Sequence[str]) -> str:
    """Return the output of a command of Slurm. Raises BatchError if it fails or does not answer in time."""
    # the user or the site may have changed the default output, which is parsed here
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SCONTROL_"))}
    # seconds since the epoch, independent of time zones
    environ["SLURM_TIME_FORMAT"] = "%s"
    return ask(argv, scheduler="Slurm", check="scontrol ping", down=_NO_CONTROLLER, env=environ)


def _job(line: str) -> BatchJob:
    fields = line.split("|")[: len(_FIELDS)]
    job_id, array, task, state, ends, starts, requeue, restarts, limit, reason, submitted = fields
    return BatchJob(
        job_id=job_id,
        array=array if task.isdecimal() else None,
        array_task=task if task.isdecimal() else None,
        state=_state(state, reason),
        ends=float(ends) if ends.isdecimal() and limit not in _NO_LIMIT else None,
        starts=float(starts) if starts.isdecimal() else None,
        submitted=float(submitted) if submitted.isdecimal() else None,
        restarts=int(restarts) if restarts.isdecimal() else 0,
        can_requeue=requeue == "1",
        reason="" if reason in _NONE else reason,
    )


def _state(text: str, reason: str) -> BatchState:
    """Return the state. While Slurm ends a job, only REASON shows whether that is because of the time limit."""
    if reason == "TimeLimit":
        return BatchState.TIMED_OUT
    return _STATE.get(text, BatchState.ENDED)


def _options(fields: dict[str, str]) -> list[str]:
    """Return the options of sbatch with which a job with these FIELDS was submitted."""
    found = [flag for (key, value), flag in _FLAGS.items() if fields.get(key) == value]
    for key, option in _OPTIONS.items():
        value = fields.get(key, "")
        if key.startswith("Ntasks"):
            value = value.partition(":")[0]
        if "gpu" in option:
            value = value.replace("gres:gpu:", "")
        if value not in (*_NONE, *_NO_LIMIT) and not (value == "0" and key in _UNSET_IF_ZERO):
            found.append(f"{option}={value}")
    return found


def _job_fields(text: str) -> dict[str, str]:
    """Return the keys and values of ``scontrol show job``. A value with spaces has a line of its own."""
    found: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        key, _, value = line.partition("=")
        if key in _WHOLE_LINE_KEYS:
            found[key] = value
        elif line.startswith("JobId="):
            head, _, found["JobName"] = line.partition(" JobName=")
            found |= _pairs(head)
        else:
            found |= _pairs(line)
    return found


def _pairs(line: str) -> dict[str, str]:
    found = list(re.finditer(_KEY, line))
    ends = [*(match.start() for match in found[1:]), len(line)]
    # not strict: a line without a key still has an end
    return {match[1]: line[match.end() : end].strip() for match, end in zip(found, ends, strict=False)}


def _script_arguments(command: str) -> list[str]:
    """Return the arguments of the batch script, from the command line of the shell that runs it.

    COMMAND is the script with its arguments as Slurm prints it, separated by blanks, so that an argument with a blank
    cannot be recognized. Raises NoResubmissionError if there are arguments, but ``exec`` has replaced the shell.
    """
    pid = os.getppid()
    while pid > 1:
        words, pid = command_of(pid)
        for place, word in enumerate(words):
            if Path(word).name == "slurm_script":
                return words[place + 1 :]
    if " " in command:
        raise NoResubmissionError(
            "the arguments of the batch script are not known, because 'exec' replaced its shell",
            "submit it again by hand",
        )
    return []
