"""What this machine offers a job: engines, and whether they work; kernel, privileges, locks, space, scheduler."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py import batch
from dmtcp_py.engine import How, Launch, Stdio
from dmtcp_py.engine.choice import AUTO, choose
from dmtcp_py.engine.criu import CriuEngine
from dmtcp_py.engine.criu import installation as criu
from dmtcp_py.engine.dmtcp import DmtcpEngine
from dmtcp_py.engine.dmtcp import installation as dmtcp
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.files import free_bytes, remove_tree
from dmtcp_py.process import make_temporary
from dmtcp_py.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine import Engine

_REHEARSAL_S = 30.0
_LOOK_S = 0.02
_ENGINE = "engine "
_LEAST_FREE_BYTES = 1 << 30
_SUBMITTERS = {"sbatch": "slurm", "qsub": "pbs or gridengine", "bsub": "lsf", "condor_submit": "htcondor"}


@dataclass(frozen=True)
class EngineState:
    """An engine on this machine; PROBLEM is why it does not work here."""

    engine: str
    path: str | None = None
    version: str | None = None
    problem: str | None = None

    @property
    def works(self) -> bool:
        """Whether a program was started with it just now."""
        return self.problem is None

    @property
    def told(self) -> str:
        """What there is to say of it."""
        where = f"{self.version} in {self.path}: " if self.version else ""
        return f"{where}{self.problem or 'works'}"

    @property
    def row(self) -> dict[str, Any]:
        """The fields for a table."""
        return {
            "engine": self.engine,
            "works": self.works,
            "version": self.version,
            "path": self.path,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Finding:
    """Something about the machine; IS_GOOD is None where there is nothing to judge."""

    about: str
    is_good: bool | None
    finding: str


def is_fit(findings: list[Finding]) -> bool:
    """Return whether jobs can run here: with any engine, and nothing else in the way."""
    engines = [finding.is_good for finding in findings if finding.about.startswith(_ENGINE)]
    others = [finding.is_good for finding in findings if not finding.about.startswith(_ENGINE)]
    return any(engines) and False not in others


def engine_state(name: str) -> EngineState:
    """Look for engine NAME and start a program with it."""
    return _dmtcp() if name == DmtcpEngine.name else _criu()


def engine_states() -> list[EngineState]:
    """Return all engines, in the order in which ``auto`` prefers them."""
    return [engine_state(DmtcpEngine.name), engine_state(CriuEngine.name)]


def examine(directory: Path) -> list[Finding]:
    """Look at the machine, and at the file system on which the jobs of DIRECTORY are or would be."""
    states = engine_states()
    place = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    return [
        *(Finding(f"{_ENGINE}{state.engine}", state.works, state.told) for state in states),
        _choice(),
        Finding("kernel", None, f"{os.uname().sysname} {os.uname().release} on {os.uname().machine}"),
        _privileges(),
        _locks(place),
        _space(place),
        _scheduler(),
    ]


def _dmtcp() -> EngineState:
    path = version = None
    try:
        found = dmtcp.find()
        path = str(found.bin)
        version = found.version
        problem = _rehearse(lambda: DmtcpEngine(found))
    except DmtcpRunError as error:
        problem = str(error)
    return EngineState(DmtcpEngine.name, path, version, problem)


def _criu() -> EngineState:
    path = version = None
    try:
        found = criu.find()
        path = str(found.path)
        version = found.version
        problem = criu.problem(found) or _rehearse(lambda: CriuEngine(found))
    except DmtcpRunError as error:
        problem = str(error)
    return EngineState(CriuEngine.name, path, version, problem)


def _rehearse(engine: Callable[[], Engine]) -> str | None:
    """Start true(1) with an engine; return why it did not end as it should."""
    folder = Path(tempfile.mkdtemp(prefix="dmtcp-doctor-"))
    try:
        staging = folder / "staging"
        staging.mkdir()
        program = _plain_program()
        launch = Launch((str(program),), program, Stdio(), os.environ, staging, make_temporary(folder))
        computation = engine().launch(launch)
        try:
            until = time.monotonic() + _REHEARSAL_S
            while (end := computation.poll()) is None:
                if time.monotonic() > until:
                    return f"a program that does nothing was not done within {_REHEARSAL_S:.0f} s"
                time.sleep(_LOOK_S)
        finally:
            computation.kill()
            computation.close()
        if end.how is How.EXITED and end.status == 0:
            return None
        return f"a program that does nothing ended wrongly: {end.detail or end.how.value}, status {end.status}"
    finally:
        remove_tree(folder)


def _choice() -> Finding:
    """Ask what would be taken for a plain program, whatever a start with it has shown."""
    try:
        choice = choose(_plain_program(), AUTO)
    except DmtcpRunError as error:
        return Finding("auto", False, error.what)
    return Finding("auto", True, f"takes {choice.engine_text}: {choice.reason}")


def _plain_program() -> Path:
    return Path(shutil.which("true") or "/bin/true")


def _privileges() -> Finding:
    missing = criu.missing_capabilities()
    who = "root" if criu.is_root() else f"user {os.geteuid()}"
    lacks = f"without {', '.join(missing).upper()}" if missing else "with all that CRIU needs"
    return Finding("privileges", None, f"{who}, {lacks}")


def _locks(place: Path) -> Finding:
    """Take a lock in PLACE twice: the second must be refused."""
    about = "locks"
    try:
        with (
            tempfile.NamedTemporaryFile(dir=place, prefix=".dmtcp-doctor-") as file,
            Path(file.name).open("rb") as other,
        ):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Finding(about, False, f"flock does not exclude anybody in {place}: choose another --dir")
    except OSError as error:
        return Finding(about, False, f"{place} cannot be locked or written: {error.strerror}; choose another --dir")
    return Finding(about, True, f"flock works in {place} ({_file_system(place)}), on this machine")


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
        return Finding("scheduler", None, f"inside job {allocation.job_id} of {allocation.scheduler}")
    here = [f"{scheduler} ({tool})" for tool, scheduler in _SUBMITTERS.items() if shutil.which(tool)]
    return Finding("scheduler", None, f"outside a job; here: {', '.join(here) or 'none'}")
