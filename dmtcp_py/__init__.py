"""Run any Linux program so that it survives time limits, preemption, crashes and reboots, without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from dmtcp_py.attempt.outcome import Outcome


def run(command: Sequence[str], **options: Any) -> Outcome:
    """Run one attempt of COMMAND as ``dmtcp-run`` would and return how it ended.

    OPTIONS are fields of `dmtcp_py.options.RunOptions`. Call this function from the main thread of a process that has
    no other children: it handles signals, passes its standard streams to the program, and reaps orphans. Raises
    UsageError if an option is impossible, and DmtcpRunError if the program cannot be started.
    """
    from dmtcp_py.attempt.attempt import run as run_attempt  # noqa: PLC0415
    from dmtcp_py.messages import Report  # noqa: PLC0415
    from dmtcp_py.options import RunOptions  # noqa: PLC0415 - so that importing the package costs nothing

    # a text is a sequence too, of letters, and here no command
    words = () if isinstance(command, str) else tuple(command)
    return run_attempt(RunOptions(command=words, **options), Report())
