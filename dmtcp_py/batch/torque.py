"""Torque, which is PBS with other names for some attributes; its commands are those of `pbs`."""

from __future__ import annotations

from dmtcp_py.batch.pbs import Pbs


def Torque() -> Pbs:  # noqa: N802 - named as the classes of the other schedulers
    """Return the Torque whose commands are on PATH."""
    return Pbs(name="Torque", runs="start_count", index="PBS_ARRAYID")
