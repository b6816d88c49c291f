"""Which engine serves a program on this machine, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.engine import entry_points as plugins
from dmtcp_py.engine.criu.engine import CriuEngine
from dmtcp_py.engine.dmtcp.engine import DmtcpEngine
from dmtcp_py.engine.executable import LAUNCHES_ELSEWHERE, is_schedulers_launcher
from dmtcp_py.engine.unprotected import Unprotected
from dmtcp_py.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.engine.protocol import Engine

AUTO = "auto"
_FIND: dict[str, Callable[[], Engine]] = {DmtcpEngine.name: DmtcpEngine.find, CriuEngine.name: CriuEngine.find}
"""The engines of ours, the one first that is taken where both can; a plugin's is taken where it is asked for."""
_OURS = (AUTO, *_FIND, Unprotected.name)
_BRING = "install the package that has it, or name its class with --engine-plugin"
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


_IN_ITS_PLACE = "type dmtcp-run mpirun … for MPI, over several nodes too; srun dmtcp-run … for one process"


def check_asked(asked: str, plugin: str | None) -> None:
    """Raise UsageError where nothing is known by the name ASKED, or PLUGIN is not of the form MODULE:CLASS."""
    if plugin is not None:
        plugins.named(plugin)
    elif asked not in (AUTO, *_FIND, *plugins.registered(_OURS)):
        names = ", ".join((AUTO, *known_names()))
        raise UsageError(f"no engine '{asked}' is known here", f"there are {names}; {_BRING}")


def choose(program: Path, asked: str, *, plugin: str | None = None, several_nodes: bool = False) -> Choice:
    """Return the engine ASKED for, or with ``auto`` the first that is here and takes PROGRAM, on SEVERAL_NODES or one.

    PLUGIN is the class of an engine, as MODULE:CLASS, and asks for it. Raises EngineError with what is in the way of
    each.
    """
    if plugin is None and asked in (AUTO, *_FIND) and is_schedulers_launcher(program):
        raise EngineError(f"{program.name} {LAUNCHES_ELSEWHERE}", _IN_ITS_PLACE)
    if asked == AUTO and plugin is None:
        return _first_that_takes(program, several_nodes=several_nodes)
    engine = engine_named(asked) if plugin is None else plugins.found_by(plugins.named(plugin), _OURS)
    if asked not in {AUTO, engine.name}:
        raise UsageError(f"--engine {asked} and --engine-plugin {plugin} ask for two engines", "leave out one")
    if refusal := _refusal(engine, program, several_nodes=several_nodes):
        raise EngineError(f"{engine.name} cannot take {program}: {refusal}", _ADVICE.get(engine.name, ""))
    return Choice(engine, f"--engine-plugin {plugin}" if plugin else f"--engine {asked}")


def choose_another(program: Path, asked: str, than: Choice) -> Choice | None:
    """Return what ``auto`` takes for PROGRAM on one node where not the engine of THAN; None where that is none.

    An engine that was ASKED for by name has no other.
    """
    if asked != AUTO or than.engine.name not in _FIND:
        return None
    try:
        return _first_that_takes(program, several_nodes=False, but=than.engine.name)
    except EngineError:
        return None


def what_to_try(choice: Choice) -> str:
    """Return by what a user finds out whether the engine of CHOICE is at fault with a program, and what else there is.

    Empty where the program runs without an engine.
    """
    if isinstance(choice.engine, Unprotected):
        return ""
    others = [name for name in _FIND if name != choice.engine.name]
    return f"see whether it does so without dmtcp-run, and if not, try --engine {' or '.join(others)}"


def _refusal(engine: Engine, program: Path, *, several_nodes: bool) -> str | None:
    return engine.refusal(program) or (engine.refusal_of_nodes() if several_nodes else None)


def _first_that_takes(program: Path, *, several_nodes: bool, but: str | None = None) -> Choice:
    problems: list[str] = []
    hints: list[str] = []
    for name, find in _FIND.items():
        if name == but:
            problems.append(f"{name} lost it at its start")
            continue
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


def engine_named(name: str, plugin: str | None = None) -> Engine:
    """Return the engine NAME as it is on this machine: PLUGIN's, ours, or a registered one.

    Raises EngineError where it is not here, or nothing of that name is known.
    """
    if name in _FIND:
        return _FIND[name]()
    if plugin is not None:
        engine = plugins.found_by(plugins.named(plugin), _OURS)
        if engine.name == name:
            return engine
    entry = plugins.registered(_OURS).get(name)
    if entry is None:
        raise EngineError(
            f"no engine '{name}' is known here",
            f"there are {', '.join(known_names())}; {_BRING}",
        )
    return plugins.found_by(entry, _OURS)


def known_names() -> list[str]:
    """Return the names of our engines and of those that installed packages register."""
    return [*_FIND, *sorted(plugins.registered(_OURS))]
