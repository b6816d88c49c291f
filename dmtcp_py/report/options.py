"""The options of an attempt, as the history has them, in the words of the command line. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = "_s"


def option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Return each option by its name on the command line, with its value as it is typed there; empty for a flag."""
    return {f"--{name.removesuffix(_SECONDS).replace('_', '-')}": _text(name, value) for name, value in options.items()}


def _text(name: str, value: Any) -> str:
    if name == "interval_s":
        return "0" if value is None else "auto" if value < 0 else format_duration(value)
    if value is True:
        return ""
    return format_duration(value) if name.endswith(_SECONDS) else str(value)
