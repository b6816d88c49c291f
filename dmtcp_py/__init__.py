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

    OPTIONS are the fields of `dmtcp_py.options.RunOptions`. Call it from the main thread of a process that has no
    other children: it takes over signals, standard streams and orphans. Raises DmtcpRunError where nothing could be
    started.
    """
    from dmtcp_py.attempt.attempt import run as run_attempt  # noqa: PLC0415
    from dmtcp_py.messages import Report  # noqa: PLC0415
    from dmtcp_py.options import RunOptions  # noqa: PLC0415 - importing the package stays free

    return run_attempt(RunOptions(command=tuple(command), **options), Report())
