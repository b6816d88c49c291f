"""The engines under which the cases run: each by its name, and what dmtcp-run takes if none is named."""

from __future__ import annotations

from kit.engines import EngineHere, find_criu, find_dmtcp
from zoo import measure


def engines_here() -> list[EngineHere]:
    """Return the engines on this machine, and `auto` with the DMTCP that is found first and CRIU."""
    default = [*find_dmtcp()[:1], *find_criu()[0]]
    environ = {name: value for engine in default for name, value in engine.environ.items()}
    auto = [EngineHere("auto", default[0].version, environ)] if default else []
    return [*measure.engines_here(), *auto]
