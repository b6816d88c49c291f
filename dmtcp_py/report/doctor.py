"""Checks of this machine: whether the engines work, kernel, privileges, file locks, free space, scheduler."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt.fit import Finding, Level, ok, problem, warning
from dmtcp_py.batch.htcondor import allocation_around
from dmtcp_py.engine.probe import NAMES, EngineState, chosen, coordinator_problem, engine_state, privileges
from dmtcp_py.errors import EngineError
from dmtcp_py.native import built
from dmtcp_py.system.files import free_bytes
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENGINE = "engine "
_OTHER_DIR = "choose another --dir"
_LEAST_FREE_BYTES = 1 << 30
_SUBMITTERS = {"sbatch": "slurm", "qsub": "pbs or gridengine", "bsub": "lsf", "condor_submit": "htcondor"}


def is_fit(findings: Sequence[Finding]) -> bool:
    """Return whether jobs can run here: no finding is a problem."""
    return not any(finding.level is Level.PROBLEM for finding in findings)


def examine(directory: Path) -> list[Finding]:
    """Check the machine, and the file system of DIRECTORY, which need not exist yet."""
    states = [engine_state(name) for name in NAMES]
    working = next((state.engine for state in states if state.works), None)
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    return [
        _choice(),
        *(finding for state in states for finding in _engine(state, working)),
        _native(),
        *_coordinator(),
        ok("kernel", f"{os.uname().sysname} {os.uname().release} on {os.uname().machine}"),
        ok("privileges", privileges()),
        _locks(existing),
        _space(existing),
        _scheduler(),
    ]


def _engine(state: EngineState, working: str | None) -> list[Finding]:
    """Return whether an engine works, and each way of running it; WORKING is an engine that does, if there is one.

    That an engine is not installed, or that one of its ways does not work, is no problem where another does.
    """
    about, found = f"{_ENGINE}{state.engine}", state.description
    # what an administrator could do is of use only where nothing works yet
    enough = f"not needed, as {working} works" if working else ""
    ways = [_way(f"{state.engine} {name}", lack, enough) for name, lack in state.ways]
    if state.works:
        return [ok(about, found), *ways]
    if working and state.version is None:
        lack = "not installed" if "not installed" in found else found.partition(";")[0]
        return [ok(about, f"not needed, as {working} works ({lack})"), *ways]
    return [(warning if working else problem)(about, found), *ways]


def _way(about: str, lack: str | None, enough: str) -> Finding:
    if lack is None:
        return ok(about, "works")
    return ok(about, enough) if enough else warning(about, lack)


def _choice() -> Finding:
    """Find the engine that ``auto`` chooses for a plain program, even if a start with it has failed."""
    try:
        choice = chosen()
    except EngineError as error:
        return problem("auto", error.what, "'dmtcp-ctl setup' installs an engine")
    return ok("auto", f"programs run with {choice.engine_text} ({choice.reason})")


def _native() -> Finding:
    """Check whether the small shared libraries in C were built."""
    if built("forks"):
        return ok("parts in C", "built: under DMTCP, programs with threaded BLAS can start processes")
    return warning(
        "parts in C",
        "not available, because dmtcp-py was installed without a C compiler, or into a path with a blank or colon: "
        "files that a program changed are not restored after a crash, and under DMTCP programs with threaded BLAS that "
        "start processes hang",
        "install a C compiler, then dmtcp-py again; until then set OPENBLAS_NUM_THREADS=1",
    )


def _coordinator() -> list[Finding]:
    """Check whether other users of this machine are kept out of computations under DMTCP, if that is installed."""
    try:
        lack = coordinator_problem()
    except EngineError:
        return []
    if lack is None:
        return [ok("coordinator", f"DMTCP's coordinator refuses connections of users other than {os.geteuid()}")]
    return [warning("coordinator", f"other users of this machine could checkpoint or kill jobs under DMTCP: {lack}")]


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
                return problem(about, f"flock has no effect in {place}", _OTHER_DIR)
    except OSError as error:
        return problem(about, f"{place} cannot be locked or written: {error.strerror}", _OTHER_DIR)
    return ok(about, f"flock works in {place} ({_file_system(place)}), between processes of this machine")


def _space(place: Path) -> Finding:
    free = free_bytes(place)
    if free >= _LEAST_FREE_BYTES:
        return ok("space", f"{format_size(free)} are free in {place}")
    return problem("space", f"only {format_size(free)} are free in {place}", f"free some; or {_OTHER_DIR}")


def _file_system(place: Path) -> str:
    import psutil  # noqa: PLC0415 - not needed to run a program

    mounts = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _scheduler() -> Finding:
    allocation = allocation_around(os.environ)
    if allocation.scheduler:
        return ok("scheduler", f"inside {allocation.scheduler} job {allocation.job_id}")
    here = [f"{scheduler} ({tool})" for tool, scheduler in _SUBMITTERS.items() if shutil.which(tool)]
    return ok("scheduler", f"outside a batch job; found here: {', '.join(here) or 'none'}")
