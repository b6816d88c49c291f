"""Checks of this machine: whether the engines work, kernel, privileges, file locks, free space, scheduler."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dmtcp_py.batch import allocation as batch
from dmtcp_py.engine.probe import NAMES, EngineState, chosen, engine_state, privileges
from dmtcp_py.errors import EngineError
from dmtcp_py.native import built
from dmtcp_py.system.files import free_bytes
from dmtcp_py.system.units import format_size

_ENGINE = "engine "
_LEAST_FREE_BYTES = 1 << 30
_SUBMITTERS = {"sbatch": "slurm", "qsub": "pbs or gridengine", "bsub": "lsf", "condor_submit": "htcondor"}


@dataclass(frozen=True)
class Finding:
    """A fact about the machine; IS_GOOD is None if it is neither good nor bad."""

    about: str
    is_good: bool | None
    finding: str


def is_fit(findings: list[Finding]) -> bool:
    """Return whether jobs can run here: at least one engine works, and no other finding is bad."""
    engines = [finding.is_good for finding in findings if finding.about.startswith(_ENGINE)]
    others = [finding.is_good for finding in findings if not finding.about.startswith(_ENGINE)]
    return any(engines) and False not in others


def examine(directory: Path) -> list[Finding]:
    """Check the machine, and the file system of DIRECTORY, which need not exist yet."""
    states = [engine_state(name) for name in NAMES]
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    return [
        *(finding for state in states for finding in _engine(state)),
        _choice(),
        _native(),
        Finding("kernel", None, f"{os.uname().sysname} {os.uname().release} on {os.uname().machine}"),
        Finding("privileges", None, privileges()),
        _locks(existing),
        _space(existing),
        _scheduler(),
    ]


def _engine(state: EngineState) -> list[Finding]:
    """Return whether an engine works; where there are several ways, also which of them does.

    That one of several ways does not work is neither good nor bad.
    """
    ways = [
        Finding(f"{state.engine} {name}", True if problem is None else None, problem or "works")
        for name, problem in state.ways
    ]
    return [Finding(f"{_ENGINE}{state.engine}", state.works, state.description), *ways]


def _choice() -> Finding:
    """Find the engine that ``auto`` chooses for a plain program, even if a start with it has failed."""
    try:
        choice = chosen()
    except EngineError as error:
        return Finding("auto", False, error.what)
    return Finding("auto", True, f"chooses {choice.engine_text}: {choice.reason}")


def _native() -> Finding:
    """Check whether the small shared libraries in C were built."""
    if built("forks"):
        return Finding("parts in C", True, "built: under DMTCP, programs with threaded BLAS can start processes")
    return Finding(
        "parts in C",
        None,
        "not available, because dmtcp-py was installed without a C compiler, or into a path with a blank or colon: "
        "under DMTCP, programs with threaded BLAS that start processes hang unless OPENBLAS_NUM_THREADS=1 is set",
    )


def _locks(place: Path) -> Finding:
    """Check file locks in directory PLACE: a second lock of the same file must be refused."""
    about = "locks"
    try:
        with (
            tempfile.NamedTemporaryFile(dir=place, prefix=".dmtcp-doctor-") as file,
            Path(file.name).open("rb") as other,
        ):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Finding(about, False, f"flock has no effect in {place}: choose another --dir")
    except OSError as error:
        return Finding(about, False, f"{place} cannot be locked or written: {error.strerror}; choose another --dir")
    return Finding(about, True, f"flock works in {place} ({_file_system(place)}), between processes of this machine")


def _space(place: Path) -> Finding:
    free = free_bytes(place)
    return Finding("space", free >= _LEAST_FREE_BYTES, f"{format_size(free)} are free in {place}")


def _file_system(place: Path) -> str:
    import psutil  # noqa: PLC0415 - not needed to run a program

    mounts = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _scheduler() -> Finding:
    allocation = batch.detect(os.environ)
    if allocation.scheduler:
        return Finding("scheduler", None, f"inside {allocation.scheduler} job {allocation.job_id}")
    here = [f"{scheduler} ({tool})" for tool, scheduler in _SUBMITTERS.items() if shutil.which(tool)]
    return Finding("scheduler", None, f"outside a batch job; found here: {', '.join(here) or 'none'}")
