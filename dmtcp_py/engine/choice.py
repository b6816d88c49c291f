"""The choice of an engine for a program on this machine, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine import entry_points as plugins
from dmtcp_py.engine.dmtcp.engine import DmtcpEngine
from dmtcp_py.engine.executable import LAUNCHES_ELSEWHERE, is_scheduler_launcher
from dmtcp_py.engine.unprotected import Unprotected
from dmtcp_py.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.engine.protocol import Engine
    from dmtcp_py.store.records import Manifest

AUTO = "auto"
_CRIU = "criu"


def _find_criu() -> Engine:
    from dmtcp_py.engine.criu.engine import CriuEngine  # noqa: PLC0415 - 15 ms, not needed where DMTCP takes the program

    return CriuEngine.find()


_FIND: dict[str, Callable[[], Engine]] = {DmtcpEngine.name: DmtcpEngine.find, _CRIU: _find_criu}
"""The built-in engines, the preferred one first. An engine of another package runs only if the user names it."""
_BUILT_IN = (AUTO, *_FIND, Unprotected.name)
_HOW_TO_ADD = "install the package that has it, or name its class with --engine-plugin"
_ADVICE = {DmtcpEngine.name: "try --engine criu; 'dmtcp-ctl doctor' says whether CRIU works here"}


class Choice(Struct, frozen=True):
    """An engine and why it is this one."""

    engine: Engine
    reason: str

    @property
    def engine_text(self) -> str:
        """The engine's name and version."""
        return f"{self.engine.name} {self.engine.version()}"


_INSTEAD = "run 'dmtcp-run mpirun …' for MPI, on one node or several, or 'srun dmtcp-run …' for one process"


def check_asked(asked: str, plugin: str | None) -> None:
    """Raise UsageError if there is no engine ASKED, or PLUGIN is not of the form MODULE:CLASS."""
    if plugin is not None:
        plugins.parse(plugin)
    elif asked not in (AUTO, *_FIND) and asked not in plugins.registered(_BUILT_IN):
        names = ", ".join((AUTO, *known_names()))
        raise UsageError(f"there is no engine '{asked}' here", f"name one of {names}; or {_HOW_TO_ADD}")


class Needs(Struct, frozen=True):
    """What the engine for a program must support besides."""

    several_nodes: bool = False
    own_network: bool = False


_NOTHING = Needs()


def choose(program: Path, asked: str, needs: Needs = _NOTHING, *, plugin: str | None = None) -> Choice:
    """Return the engine ASKED for; with ``auto``, the first installed one that can checkpoint PROGRAM.

    It must support what the program NEEDS besides. PLUGIN asks for the engine of a class, as MODULE:CLASS. Raises
    EngineError, which says for each engine why it cannot.
    """
    if plugin is None and asked in (AUTO, *_FIND) and is_scheduler_launcher(program):
        raise EngineError(f"{program.name} {LAUNCHES_ELSEWHERE}", _INSTEAD)
    if asked == AUTO and plugin is None:
        return _first_usable(program, needs)
    engine = engine_named(asked) if plugin is None else plugins.load(plugins.parse(plugin), _BUILT_IN)
    if asked not in {AUTO, engine.name}:
        raise UsageError(f"--engine {asked} and --engine-plugin {plugin} name two engines", "leave out one option")
    if refusal := _refusal(engine, program, needs):
        raise EngineError(f"{engine.name} cannot checkpoint {program}: {refusal}", _ADVICE.get(engine.name, ""))
    return Choice(engine, f"--engine-plugin {plugin}" if plugin else f"--engine {asked}")


def choose_another(program: Path, asked: str, needs: Needs, *, than: Choice, why: str) -> Choice | None:
    """Return what ``auto`` takes for PROGRAM on one node where not the engine of THAN; None where that is none.

    WHY says, after the engine's name, why not that one. An engine that was ASKED for by name has no other.
    """
    if asked != AUTO or than.engine.name not in _FIND:
        return None
    try:
        return _first_usable(program, needs, but=than.engine.name, why_not=why)
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


def _refusal(engine: Engine, program: Path, needs: Needs) -> str | None:
    if needs.own_network and engine.name not in (_CRIU, Unprotected.name):
        return "--network own needs CRIU"
    return engine.refusal(program) or (engine.refusal_of_nodes() if needs.several_nodes else None)


def _first_usable(program: Path, needs: Needs, *, but: str | None = None, why_not: str = "") -> Choice:
    problems: list[str] = []
    hints: list[str] = []
    for name, find in _FIND.items():
        if name == but:
            problems.append(f"{name} {why_not}")
            continue
        try:
            engine = find()
        except EngineError as error:
            problems.append(f"{name}: {error.what}")
            hints += [error.hint] if error.hint else []
            continue
        if refusal := _refusal(engine, program, needs):
            problems.append(f"{name} cannot checkpoint {program}: {refusal}")
        elif not needs.several_nodes and (doubt := engine.doubt(program)):
            problems.append(f"{name} may fail with {program}: {doubt}")
            hints.append(f"--engine {name} tries it anyway")
        else:
            return Choice(engine, "; ".join(problems) or "it is installed and can checkpoint the program")
    raise EngineError(f"no engine can run this program here: {'; '.join(problems)}", "; or ".join(hints))


def engine_named(name: str, plugin: str | None = None) -> Engine:
    """Return the engine NAME on this machine: a built-in one, the one of class PLUGIN, or a registered one.

    Raises EngineError if it is not installed, or there is no engine of that name.
    """
    if name in _FIND:
        return _FIND[name]()
    if plugin is not None:
        engine = plugins.load(plugins.parse(plugin), _BUILT_IN)
        if engine.name == name:
            return engine
    entry = plugins.registered(_BUILT_IN).get(name)
    if entry is None:
        raise EngineError(
            f"there is no engine '{name}' here",
            f"name one of {', '.join(known_names())}; or {_HOW_TO_ADD}",
        )
    return plugins.load(entry, _BUILT_IN)


def engine_of(manifest: Manifest) -> Engine:
    """Return the engine on this machine that made the images of MANIFEST.

    Raises EngineError if it is not here, or only a version that cannot restart them.
    """
    engine = engine_named(manifest.engine)
    if isinstance(engine, DmtcpEngine):
        engine.check_images(manifest)
    return engine


def known_names() -> list[str]:
    """Return the names of the built-in engines and of those that installed packages register."""
    return [*_FIND, *sorted(plugins.registered(_BUILT_IN))]
