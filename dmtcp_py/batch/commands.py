"""Asking a scheduler through one of its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.errors import BatchError, EngineError
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ANSWER_TIMEOUT_S = 20.0


def ask(
    argv: Sequence[str], *, scheduler: str, check: str, down: str = "", env: Mapping[str, str] | None = None
) -> str:
    """Return the output of a command of SCHEDULER. Raises BatchError if it fails or does not answer in time.

    CHECK is a command that shows the user whether the scheduler works; DOWN is what ARGV prints if it does not.
    """
    hint = f"check with '{check}'"
    try:
        result = run_tool(argv, timeout_s=_ANSWER_TIMEOUT_S, env=env)
    except EngineError as error:
        raise BatchError(f"{scheduler} does not answer: {error.what}", hint) from error
    if result.status != 0:
        output = " ".join(result.output.split()) or f"status {result.status}"
        problem = f"{scheduler} does not answer" if down and down in output else f"'{' '.join(argv[:2])}' failed"
        raise BatchError(f"{problem}: {output}", hint)
    return result.output
