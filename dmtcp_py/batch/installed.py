"""The supported schedulers whose commands are installed on this machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dmtcp_py.batch.slurm import Slurm

if TYPE_CHECKING:
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import Scheduler

_KNOWN = {"slurm": (Slurm, "scontrol")}
"""The class of each supported scheduler, and the command that it needs."""


def scheduler_of(allocation: Allocation) -> Scheduler | None:
    """Return the scheduler of ALLOCATION; None outside a batch job, or if the scheduler is not supported here."""
    return schedulers().get(allocation.scheduler or "")


def schedulers() -> dict[str, Scheduler]:
    """Return the supported schedulers whose commands are on PATH, by name."""
    return {name: make() for name, (make, tool) in _KNOWN.items() if shutil.which(tool)}
