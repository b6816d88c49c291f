"""The options of `dmtcp_py.run`, which has those of the command line: as texts, as there, or as values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from dmtcp_py.errors import UsageError
from dmtcp_py.mirror.address import address_of
from dmtcp_py.options import RunOptions
from dmtcp_py.system.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

Duration = str | float | None
"""Seconds, or what the command line takes: ``"15m"``, ``"2h"``, ``"1-12:00:00"``."""
PathLike = str | Path | None


class Arguments(TypedDict, total=False):
    """What `dmtcp_py.run` takes besides the command; ``dmtcp-run --help`` describes each."""

    directory: str | Path
    """``--dir``."""
    job: str | None
    interval: Duration
    """``"auto"``, a duration, or 0 or None for no interval checkpoints."""
    keep: int
    checkpointed_status: int | None
    fresh: bool
    resume_only: bool
    generation: int | None
    stdin: PathLike
    stdout: PathLike
    stderr: PathLike
    engine: str
    engine_plugin: str | None
    time_limit: Duration
    lead: Duration
    at_limit: Literal["requeue", "resubmit", "exit"] | None
    stage_local: PathLike
    nodes: Literal["auto", "1"] | None
    network: Literal["host", "own"] | None
    array_chain: bool
    gate: str | None
    gate_then: Literal["wait", "exit"] | None
    gate_every: Duration
    mirrors: str | Sequence[str]
    """``--mirror``: one URL, or several."""
    mirror_rate: str | float | None
    """Bytes a second, or what the command line takes: ``"50M"``."""
    mtti: Duration
    max_overhead: float
    """Per cent."""
    seal: bool
    """``--seal``."""
    allow_unprotected: bool
    accept_changed_files: bool
    accept_changed_state: bool


_PATHS = ("directory", "stdin", "stdout", "stderr", "stage_local")
_DURATIONS = ("time_limit", "lead", "gate_every", "mtti")


def options_of(command: Sequence[str], arguments: Arguments) -> RunOptions:
    """Return COMMAND and ARGUMENTS as options of an attempt. Raises UsageError if one is impossible, or not known."""
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in Arguments.__annotations__:
            raise UsageError(f"dmtcp_py.run has no option '{name}'", f"it has {', '.join(Arguments.__annotations__)}")
        if name == "interval":
            values["interval_s"] = _interval_s(value)
        elif name in _DURATIONS:
            values[f"{name}_s"] = _seconds(name, value)
        elif name == "mirrors":
            values[name] = _mirrors(value)
        elif name == "mirror_rate":
            values[name] = parse_size(value) if isinstance(value, str) else value
        else:
            values[name] = Path(value) if name in _PATHS and isinstance(value, str) else value
    # a text is a sequence too, of letters, and here no command
    return RunOptions(command=() if isinstance(command, str) else tuple(command), **values)


def _interval_s(value: object) -> float | None:
    if value == "auto":
        return -1.0
    seconds = _seconds("interval", value)
    if seconds is not None and seconds < 0:
        raise UsageError(f"interval must be at least 0, not {value}")
    return seconds or None


def _mirrors(value: object) -> tuple[str, ...]:
    urls = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if urls is None:
        raise UsageError(f"mirrors must be a URL or a list of them, not {value!r}")
    for url in urls:
        address_of(url)
    return urls


def _seconds(name: str, value: object) -> float | None:
    if isinstance(value, str):
        return parse_duration(value)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise UsageError(f"{name} must be a number of seconds or a text such as '15m', not {value!r}")
