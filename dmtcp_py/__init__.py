"""Run any Linux program so that it survives time limits, preemption, crashes and reboots, without changing it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ("Kind", "Outcome", "here", "run")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from dmtcp_py import here
    from dmtcp_py.arguments import Arguments
    from dmtcp_py.attempt.outcome import Kind, Outcome


def __getattr__(name: str) -> object:
    # importing the package costs nothing
    if name == "here":
        return importlib.import_module("dmtcp_py.here")
    if name in ("Kind", "Outcome"):
        return getattr(importlib.import_module("dmtcp_py.attempt.outcome"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def run(command: Sequence[str], **options: Unpack[Arguments]) -> Outcome:
    """Run one attempt of COMMAND as ``dmtcp-run`` would and return how it ended.

    OPTIONS are those of the command line, see `dmtcp_py.arguments.Arguments`. Call this function from the main thread
    of a process that has no other children: it handles signals, passes its standard streams to the program, and reaps
    orphans. Raises UsageError if an option is impossible, and DmtcpRunError if the program cannot be started.
    """
    from dmtcp_py.arguments import options_of  # noqa: PLC0415
    from dmtcp_py.attempt.attempt import run as run_attempt  # noqa: PLC0415
    from dmtcp_py.messages import Report  # noqa: PLC0415 - so that importing the package costs nothing

    return run_attempt(options_of(command, options), Report())
