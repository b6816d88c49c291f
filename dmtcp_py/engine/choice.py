"""Which engine serves a program on this machine, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp import DmtcpEngine
from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine import Engine


def engine_for(program: Path) -> Engine:
    """Return the engine that takes PROGRAM; raise EngineError with the reason where none does."""
    engine = engine_named(DmtcpEngine.name)
    refusal = engine.refusal(program)
    if refusal:
        raise EngineError(f"{engine.name} cannot take {program}: {refusal}", "link it dynamically")
    return engine


def engine_named(name: str) -> Engine:
    """Return the engine NAME as it is on this machine; raise EngineError where it is not."""
    if name != DmtcpEngine.name:
        raise EngineError(f"the images were made by '{name}', which this dmtcp-py does not know", "use a newer one")
    return DmtcpEngine.find()
