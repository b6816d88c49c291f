"""Engines that are not ours: a class that an installed package registers, or that the command line names.

What is loaded is chosen by the user or by an installed package, never by a name found in a manifest.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from dmtcp_py.engine.protocol import Engine
from dmtcp_py.errors import DmtcpRunError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

GROUP = "dmtcp_py.engines"
"""The group of entry points in which a package registers the class of an engine under the engine's name."""
_MEMBERS = ("name", *sorted(name for name in vars(Engine) if not name.startswith("_")))


def registered(ours: Collection[str]) -> dict[str, EntryPoint]:
    """Return what installed packages register, by name; a name that is one of OURS stays ours.

    Raises EngineError where two packages register the same name for different classes.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in ours:
            continue
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise EngineError(
                f"two installed packages register an engine '{entry.name}': {other.value} and {entry.value}",
                "uninstall one of them, or name one with --engine-plugin",
            )
    return found


def named(text: str) -> EntryPoint:
    """Return the class MODULE:CLASS, which may be missing; raise UsageError where TEXT is not of that form."""
    module, _, attribute = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise UsageError(f"'{text}' does not name a class", "write --engine-plugin MODULE:CLASS")
    return EntryPoint(name="", value=text, group=GROUP)


def found_by(entry: EntryPoint, ours: Collection[str]) -> Engine:
    """Return the engine that the class of ENTRY finds on this machine.

    Raises EngineError where the class cannot be loaded, is none of an engine, or finds none here.
    """
    try:
        engine = entry.load().find()
    except DmtcpRunError:
        raise
    except Exception as error:
        raise EngineError(
            f"the engine plugin {entry.value} cannot be loaded: {type(error).__name__}: {error}",
            "it must be a class with a method 'find' that Python finds: install its package, or set PYTHONPATH",
        ) from error
    lacking = [name for name in _MEMBERS if not hasattr(engine, name)]
    if lacking:
        raise EngineError(f"the engine plugin {entry.value} is no engine: it has no {', '.join(lacking)}")
    # a generation is resumed by the engine of the name that stands in its manifest
    if engine.name in ours:
        raise EngineError(f"the engine plugin {entry.value} calls itself '{engine.name}', which is an engine of ours")
    if entry.name and engine.name != entry.name:
        raise EngineError(
            f"the engine plugin {entry.value} calls itself '{engine.name}', but is registered as '{entry.name}'"
        )
    return engine  # type: ignore[no-any-return]  # looked at just now
