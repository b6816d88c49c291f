"""The engines on this machine: which are installed, and whether a program runs under them now."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.engine.choice import AUTO, choose
from dmtcp_py.engine.criu import privileges as criu
from dmtcp_py.engine.criu import trials
from dmtcp_py.engine.criu.engine import CriuEngine
from dmtcp_py.engine.dmtcp import guarding
from dmtcp_py.engine.dmtcp import installation as dmtcp
from dmtcp_py.engine.dmtcp.engine import DmtcpEngine
from dmtcp_py.engine.protocol import EndKind, Launch, Stdio
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.system.files import make_temporary, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine.choice import Choice
    from dmtcp_py.engine.protocol import Engine

NAMES = (DmtcpEngine.name, CriuEngine.name)
"""In the order in which ``auto`` prefers them."""
_TRIAL_S = 30.0
_POLL_S = 0.02


class EngineState(Struct, frozen=True):
    """An engine on this machine; PROBLEM is why it does not work here."""

    engine: str
    path: str | None = None
    version: str | None = None
    problem: str | None = None
    ways: tuple[tuple[str, str | None], ...] = ()
    """For an engine that runs in several ways: those that were tried, each with the problem if it does not work."""
    is_other_worth_a_try: bool = False
    """Whether another version of it may work."""

    @property
    def works(self) -> bool:
        """Whether a program just ran under it."""
        return self.problem is None

    @property
    def description(self) -> str:
        """The state as it is printed."""
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


def engine_state(name: str) -> EngineState:
    """Find engine NAME and run a program under it."""
    return _dmtcp() if name == DmtcpEngine.name else _criu()


def coordinator_problem() -> str | None:
    """Return why DMTCP's coordinator admits other users; None if it refuses them. Raises EngineError without DMTCP."""
    return guarding.problem(dmtcp.find())


def chosen() -> Choice:
    """Return the engine that ``auto`` chooses for a plain program, without running it; EngineError if there is none."""
    return choose(_plain_program(), AUTO)


def privileges() -> str:
    """Return the user's name or id, and the capabilities for CRIU that are missing."""
    missing = criu.missing_capabilities()
    user = "root" if criu.is_root() else f"user {os.geteuid()}"
    lacks = f"without {', '.join(missing).upper()}" if missing else "with all capabilities that CRIU needs"
    return f"{user}, {lacks}"


def _dmtcp() -> EngineState:
    path = version = None
    try:
        found = dmtcp.find()
        path = str(found.bin)
        version = found.version
        problem = _run_true(lambda: DmtcpEngine(found))
    except DmtcpRunError as error:
        problem = str(error)
    return EngineState(engine=DmtcpEngine.name, path=path, version=version, problem=problem)


def _criu() -> EngineState:
    try:
        found = trials.find(anew=True)
        state = EngineState(
            engine=CriuEngine.name,
            path=str(found.installation.path),
            version=found.installation.version,
            problem=found.problem,
            ways=tuple((one.way.name, one.problem) for one in found.tried),
            is_other_worth_a_try=found.is_criu_at_fault,
        )
        way = found.way
        if way is None:
            return state
        return replace(state, problem=_run_true(lambda: CriuEngine(found.installation, way)))
    except DmtcpRunError as error:
        return EngineState(engine=CriuEngine.name, problem=str(error))


def _run_true(engine: Callable[[], Engine]) -> str | None:
    """Run true(1) under an engine; return what went wrong, None if it ended with status 0."""
    folder = Path(tempfile.mkdtemp(prefix="dmtcp-doctor-"))
    try:
        staging = folder / "staging"
        staging.mkdir()
        program = _plain_program()
        launch = Launch(
            command=(str(program),),
            program=program,
            stdio=Stdio(),
            environ=os.environ,
            staging=staging,
            temporary=make_temporary(folder),
        )
        computation = engine().launch(launch)
        try:
            until = time.monotonic() + _TRIAL_S
            while (end := computation.poll()) is None:
                if time.monotonic() > until:
                    return f"{program} did not end within {_TRIAL_S:.0f} s under it"
                time.sleep(_POLL_S)
        finally:
            computation.kill()
            computation.close()
        if end.kind is EndKind.EXITED and end.status == 0:
            return None
        return f"{program} failed under it: {end.detail or end.kind.value}, status {end.status}"
    finally:
        remove_tree(folder)


def _plain_program() -> Path:
    return Path(shutil.which("true") or "/bin/true")
