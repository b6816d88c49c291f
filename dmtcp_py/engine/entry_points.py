"""Engines of other packages: a class that an installed package registers, or that the command line names.

Only the user and installed packages decide which class is loaded; a name found in a manifest never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.engine.protocol import Engine
from dmtcp_py.errors import DmtcpRunError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from importlib.metadata import EntryPoint

GROUP = "dmtcp_py.engines"
"""The entry-point group in which a package registers the class of an engine under the engine's name."""
_MEMBERS = ("name", *sorted(name for name in vars(Engine) if not name.startswith("_")))


def registered(built_in: Collection[str]) -> dict[str, EntryPoint]:
    """Return the engines that installed packages register, by name, except those with a name that is BUILT_IN.

    Raises EngineError if two packages register different classes under one name.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - 17 ms, only for engines that are not built in

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in built_in:
            continue
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise EngineError(
                f"two installed packages register an engine '{entry.name}': {other.value} and {entry.value}",
                "uninstall one of them, or name one with --engine-plugin",
            )
    return found


def parse(text: str) -> EntryPoint:
    """Return the entry point for TEXT, whose class need not exist; raise UsageError if it is not MODULE:CLASS."""
    from importlib.metadata import EntryPoint  # noqa: PLC0415 - as above

    module, _, attribute = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise UsageError(f"'{text}' does not name a class", "write --engine-plugin MODULE:CLASS")
    return EntryPoint(name="", value=text, group=GROUP)


def load(entry: EntryPoint, built_in: Collection[str]) -> Engine:
    """Return the engine that the class of ENTRY finds on this machine.

    Raises EngineError if the class cannot be loaded, is not an engine, has a name that is BUILT_IN, or finds no engine.
    """
    try:
        engine = entry.load().find()
    except DmtcpRunError:
        raise
    except Exception as error:
        raise EngineError(
            f"the engine plugin {entry.value} cannot be loaded: {type(error).__name__}: {error}",
            "it must be a class with a method 'find' that Python can import: install its package, or set PYTHONPATH",
        ) from error
    missing = [name for name in _MEMBERS if not hasattr(engine, name)]
    if missing:
        raise EngineError(f"the engine plugin {entry.value} is not an engine: it has no {', '.join(missing)}")
    # the engine that resumes a generation is found by the name in its manifest
    if engine.name in built_in:
        raise EngineError(f"the engine plugin {entry.value} calls itself '{engine.name}', which is a built-in engine")
    if entry.name and engine.name != entry.name:
        raise EngineError(
            f"the engine plugin {entry.value} calls itself '{engine.name}', but is registered as '{entry.name}'"
        )
    return engine  # type: ignore[no-any-return]  # its members were checked
