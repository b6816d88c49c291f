"""Which engine serves a program on this machine, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu import CriuEngine
from dmtcp_py.engine.dmtcp import DmtcpEngine
from dmtcp_py.engine.executable import is_schedulers_launcher
from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.engine import Engine

AUTO = "auto"
_FIND: dict[str, Callable[[], Engine]] = {DmtcpEngine.name: DmtcpEngine.find, CriuEngine.name: CriuEngine.find}
"""The engines, the one first that is taken where both can."""
_ADVICE = {
    DmtcpEngine.name: "--engine criu takes it, where CRIU works; 'dmtcp-ctl doctor' says whether it does here",
    CriuEngine.name: "look at 'dmtcp-ctl doctor'",
}


@dataclass(frozen=True)
class Choice:
    """An engine and why it is this one."""

    engine: Engine
    reason: str

    @property
    def engine_text(self) -> str:
        """The engine's name and version."""
        return f"{self.engine.name} {self.engine.version()}"


_LAUNCHES_ELSEWHERE = (
    "{program} has the program's processes started by the scheduler's daemons, which no engine can take along",
    "type dmtcp-run mpirun … for MPI, over several nodes too; srun dmtcp-run … for one process",
)


def choose(program: Path, asked: str, *, several_nodes: bool = False) -> Choice:
    """Return the engine ASKED for, or with ``auto`` the first that is here and takes PROGRAM, on SEVERAL_NODES or one.

    Raises EngineError with what is in the way of each.
    """
    if is_schedulers_launcher(program):
        what, hint = _LAUNCHES_ELSEWHERE
        raise EngineError(what.format(program=program.name), hint)
    if asked != AUTO:
        engine = engine_named(asked)
        refusal = _refusal(engine, program, several_nodes=several_nodes)
        if refusal:
            raise EngineError(f"{asked} cannot take {program}: {refusal}", _ADVICE.get(asked, ""))
        return Choice(engine, f"--engine {asked}")
    return _first_that_takes(program, several_nodes=several_nodes)


def _refusal(engine: Engine, program: Path, *, several_nodes: bool) -> str | None:
    return engine.refusal(program) or (engine.refusal_of_nodes() if several_nodes else None)


def _first_that_takes(program: Path, *, several_nodes: bool) -> Choice:
    problems: list[str] = []
    hints: list[str] = []
    for name, find in _FIND.items():
        try:
            engine = find()
        except EngineError as error:
            problems.append(f"{name}: {error.what}")
            hints += [error.hint] if error.hint else []
            continue
        if refusal := _refusal(engine, program, several_nodes=several_nodes):
            problems.append(f"{name} cannot take {program}: {refusal}")
        elif not several_nodes and (doubt := engine.doubt(program)):
            problems.append(f"{name} had better not take {program}: {doubt}")
            hints.append(f"--engine {name} tries it all the same")
        else:
            return Choice(engine, "; ".join(problems) or "it is here and takes the program")
    raise EngineError(f"no engine can run this here: {'; '.join(problems)}", "; or ".join(hints))


def engine_named(name: str) -> Engine:
    """Return the engine NAME as it is on this machine; raise EngineError where it is not."""
    if name not in _FIND:
        raise EngineError(f"the images were made by '{name}', which this dmtcp-py does not know", "use a newer one")
    return _FIND[name]()
