"""OpenPBS and PBS Professional through their commands; `torque` uses the same with other names.

Only operators may requeue with qrerun(1B), so a job that is not finished is submitted again, to run after this one:
with the script that its node keeps, and the options that ``qstat -f`` shows.
"""

from __future__ import annotations

import calendar
import getpass
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.batch.commands import ask
from dmtcp_py.batch.scheduler import BatchJob, BatchState
from dmtcp_py.errors import BatchError, NoResubmissionError
from dmtcp_py.system.proc import command_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_STATE = {
    # qstat(1B); C is Torque's "completed"
    "Q": BatchState.WAITING,
    "H": BatchState.WAITING,
    "W": BatchState.WAITING,
    "T": BatchState.WAITING,
    "R": BatchState.RUNNING,
    "B": BatchState.RUNNING,
    "S": BatchState.SUSPENDED,
    "U": BatchState.SUSPENDED,
}
_OPTIONS = {
    "Job_Name": "-N",
    "queue": "-q",
    "Account_Name": "-A",
    "project": "-P",
    "Shell_Path_List": "-S",
    "Mail_Points": "-m",
    "Mail_Users": "-M",
    "Priority": "-p",
    "Join_Path": "-j",
    "Keep_Files": "-k",
    "job_arguments": "-F",
}
"""The option of qsub(1B) that sets each attribute of ``qstat -f``."""
_UNSET = {"Priority": "0", "Join_Path": "n", "Keep_Files": "n", "project": "_pbs_project_default", "Mail_Points": "a"}
"""The values of attributes that nobody set."""
_DERIVED = ("ncpus", "nodect", "mem", "mpiprocs", "ngpus", "neednodes", "naccelerators")
"""Resources that follow from those that were requested, select or nodes."""
_OUTPUTS = {"Output_Path": "-o", "Error_Path": "-e"}
_UNKNOWN_JOB = re.compile(r"Unknown Job Id|Job has finished", re.IGNORECASE)
_ARRAY_ID = re.compile(r"(\d+)\[(\d*)\](.*)")
_SEVERAL = 2


@dataclass(frozen=True)
class Pbs:
    """The PBS whose commands are on PATH; RUNS is the attribute that counts how often a job was started."""

    name: str = "PBS"
    runs: str = "run_count"
    index: str = "PBS_ARRAY_INDEX"
    users_requeue: bool = False

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, the tasks of array JOB_ID, or all jobs of this user."""
        try:
            ids = [job_id] if job_id is not None else self._ask(["qselect", "-u", getpass.getuser()]).split()
            output = self._ask(["qstat", "-f", "-t", *ids]) if ids else ""
        except BatchError as error:
            if _UNKNOWN_JOB.search(error.what):
                return []
            raise
        return [self._job(record) for record in records(output)]

    def requeues_status(self, status: int) -> bool:  # noqa: ARG002 - the Protocol's
        """Return False: PBS requeues no job for its exit status."""
        return False

    def nodes(self) -> Sequence[str]:
        """Return the node names of the allocation around us, this node first; empty if it has only one node."""
        path = os.environ.get("PBS_NODEFILE", "")
        if not path:
            return ()
        try:
            # the first one is that of the batch script
            names = list(dict.fromkeys(Path(path).read_text(encoding="utf-8").split()))
        except OSError as error:
            raise BatchError(f"the list of nodes cannot be read: {error}", "add --nodes 1") from error
        return names if len(names) >= _SEVERAL else ()

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""
        tool = ["pbs_tmrsh", name] if self.name == Pbs.name else ["pbsdsh", "-h", name]
        return [*tool, *command]

    def requeue(self, job_id: str) -> Sequence[str]:
        """Return the command that requeues the running job JOB_ID, for operators."""
        return ["qrerun", job_id]

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:
        """Save the batch script of job JOB_ID in SCRIPT; return the command that resubmits it, to run after JOB_ID."""
        found = [record for record in records(self._ask(["qstat", "-f", job_id])) if record["Job Id"] == job_id]
        running = _running_script()
        if not found or running is None:
            raise NoResubmissionError(
                f"the batch script of job {job_id} is not known: it has none, or 'exec' replaced its shell",
                "submit the same script again",
            )
        script.write_bytes(running.read_bytes())
        directory = os.environ.get("PBS_O_WORKDIR", "")
        before = ["env", f"--chdir={directory}"] if directory else []
        # with an empty prefix the options in the script do not count, as an array would become an array again
        after = ["-C", "", "-W", f"depend=afterany:{job_id}"]
        return [*before, "qsub", *self._options(found[0]), *after, str(script)]

    def _ask(self, argv: Sequence[str]) -> str:
        # times in UTC, so that none is ambiguous
        return ask(argv, scheduler=self.name, check="qstat -B", env={**os.environ, "TZ": "UTC", "LC_ALL": "C"})

    def _job(self, record: Mapping[str, str]) -> BatchJob:
        job_id, walltime = record["Job Id"], record.get("Resource_List.walltime", "")
        state, starts = (
            _STATE.get(record.get("job_state", ""), BatchState.ENDED),
            _time(record.get("stime") or record.get("start_time", "")),
        )
        array, task = _array_of(job_id)
        if task is None and _is_continued_task(record):
            task = variables(record)[self.index]
        runs = record.get(self.runs, "")
        return BatchJob(
            job_id=job_id,
            state=state,
            array=array,
            array_task=task,
            ends=starts + _seconds(walltime) if starts is not None and walltime else None,
            starts=starts,
            submitted=_time(record.get("qtime", "")),
            restarts=max(int(runs) - 1, 0) if runs.isdecimal() else 0,
            can_requeue=record.get("Rerunable") != "False",
            no_requeue_because="the job was submitted with -r n",
        )

    def _options(self, record: Mapping[str, str]) -> list[str]:
        """Return the options of qsub with which a job like that of RECORD is submitted."""
        found = []
        for attribute, option in _OPTIONS.items():
            value = record.get(attribute, "")
            if value and value != _UNSET.get(attribute):
                found += [option, value]
        requested = {key.partition(".")[2]: value for key, value in record.items() if key.startswith("Resource_List.")}
        follows = _DERIVED if {"select", "nodes"} & requested.keys() else ()
        for resource, value in requested.items():
            if resource not in follows and not (resource == "nodes" and "select" in requested):
                found += ["-l", f"{resource}={value}"]
        number = re.split(r"[.\[]", record["Job Id"])[0]
        for attribute, option in _OUTPUTS.items():
            value = record.get(attribute, "")
            # the usual name has the job's number, which the next job has not
            if value and not value.endswith((f".o{number}", f".e{number}", "^array_index^")):
                found += [option, value]
        return found + (["-r", "n"] if record.get("Rerunable") == "False" else []) + self._variables(record)

    def _variables(self, record: Mapping[str, str]) -> list[str]:
        """Return the option that hands on the variables that the job of RECORD was submitted with, and its task."""
        submitted = [name for name in variables(record) if not name.startswith("PBS_") or name == "PBS_CONF_FILE"]
        kept = [name for name in submitted if name in os.environ]
        task = os.environ.get(self.index)
        return [
            "-v",
            ",".join([_CHAIN, *(name for name in kept if name != _CHAIN), *([f"{self.index}={task}"] * bool(task))]),
        ]


_CHAIN = "DMTCP_RUN_CHAIN"


def records(output: str) -> list[dict[str, str]]:
    """Return the attributes of each job in the OUTPUT of ``qstat -f``, which continues long values after a tab."""
    found: list[dict[str, str]] = []
    for line in output.replace("\n\t", "").splitlines():
        if line.startswith("Job Id: "):
            found.append({"Job Id": line.removeprefix("Job Id: ").strip()})
        elif found and " = " in line:
            key, _, value = line.strip().partition(" = ")
            found[-1][key] = value
    return found


def variables(record: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a job was submitted with; of a value with a comma the rest is lost."""
    pairs = (text.partition("=") for text in record.get("Variable_List", "").split(","))
    return {name: value for name, equals, value in pairs if equals and name.isidentifier()}


def _array_of(job_id: str) -> tuple[str | None, str | None]:
    """Return the array and the task of ``12[3].server``, which are ``12[].server`` and ``3``."""
    match = _ARRAY_ID.fullmatch(job_id)
    return (f"{match[1]}[]{match[3]}", match[2]) if match and match[2] else (None, None)


def _is_continued_task(record: Mapping[str, str]) -> bool:
    return {_CHAIN, "PBS_ARRAY_INDEX"} <= variables(record).keys()


def _running_script() -> Path | None:
    """Return the copy of the batch script that the shell above us runs."""
    for words in _shells():
        for word in words:
            if word.endswith(".SC") and Path(word).is_file():
                return Path(word)
    return None


def _shells() -> Iterator[Sequence[str]]:
    pid = os.getppid()
    while pid > 1:
        words, pid = command_of(pid)
        yield words


def _time(text: str) -> float | None:
    """Return a moment such as ``Mon Nov 30 02:16:49 2026``, in UTC; None for an empty text."""
    return float(calendar.timegm(time.strptime(text, "%a %b %d %H:%M:%S %Y"))) if text else None


def _seconds(text: str) -> float:
    """Return a duration such as ``12:00:00`` in seconds."""
    return sum(float(part) * 60.0**place for place, part in enumerate(reversed(text.split(":"))))
