"""The schedulers whose commands are installed on this machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dmtcp_py.batch.slurm import Slurm

if TYPE_CHECKING:
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import Scheduler

_KNOWN = {"slurm": (Slurm, "scontrol")}
"""The class of each scheduler that can be talked to, and the command without which it cannot."""


def scheduler_of(allocation: Allocation) -> Scheduler | None:
    """Return the scheduler of ALLOCATION; None where there is none, or none that can be talked to from here."""
    return schedulers().get(allocation.scheduler or "")


def schedulers() -> dict[str, Scheduler]:
    """Return the schedulers that this machine has the commands of."""
    return {name: make() for name, (make, tool) in _KNOWN.items() if shutil.which(tool)}
