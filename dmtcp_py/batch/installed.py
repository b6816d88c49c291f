"""The supported schedulers whose commands are installed on this machine. Only their modules are imported."""

from __future__ import annotations

import importlib
import shutil
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import Scheduler

_KNOWN = {
    "slurm": ("Slurm", "scontrol"),
    "gridengine": ("GridEngine", "qhost"),
    "lsf": ("Lsf", "bjobs"),
    "pbs": ("Pbs", "pbs_rstat"),
    "torque": ("Torque", "qchkpt"),
}
"""The class of each supported scheduler, in the module of its name, and a command that only this scheduler has."""


def scheduler_of(allocation: Allocation) -> Scheduler | None:
    """Return the scheduler of ALLOCATION; None outside a batch job, or if the scheduler is not supported here."""
    return scheduler_named(allocation.scheduler)


def scheduler_named(name: str | None) -> Scheduler | None:
    """Return the scheduler of this NAME; None if it is not supported here."""
    kind, tool = _KNOWN.get(name or "", ("", ""))
    if not tool or shutil.which(tool) is None:
        return None
    return cast("Scheduler", getattr(importlib.import_module(f"dmtcp_py.batch.{name}"), kind)())
