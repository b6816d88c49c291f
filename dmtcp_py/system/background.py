"""Processes of this package that work beside the program: how one is started, and that it lets all else go first."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODE = "import sys; sys.path[:] = [one for one in sys.path if one]; from dmtcp_py.{0} import main; main()"


def argv_of(module: str, *arguments: str) -> Sequence[str]:
    """Return the command that runs MODULE of this package; no module of the working directory can take its place."""
    return (sys.executable, "-c", _CODE.format(module), *arguments)


def lower_priority() -> None:
    """Let everything else on this machine have the processors and the disks first.

    Not SCHED_IDLE: where a program keeps all processors busy, it leaves 0.3 % of one, and a copy would never end.
    """
    import psutil  # noqa: PLC0415 - only these processes need it

    os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    try:
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    except psutil.Error:
        # some containers forbid it
        return
