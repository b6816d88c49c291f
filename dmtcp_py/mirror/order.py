"""What the supervisor tells a process that works for it, on one line of its standard input, and what that reports.

An address may hold a password, so it is neither in the arguments nor in the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.records import json_of, path_of

Tell = Callable[..., None]
"""Reports the values of its keyword arguments."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt for which is worked: its epoch and its supervisor."""

    epoch: int
    host: str
    pid: int
    pid_started: float
    boot_id: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to copy, and where to. ROOT is the job's directory, as `path_text` writes it."""

    root: str
    mirrors: list[str]
    holder: Holder
    keep: int = 2
    rate: float | None = None
    generation: int | None = None
    """The generation to fetch; None for the newest."""
    is_fresh: bool = False
    """Whether nothing is resumed, so that no generation is fetched."""
    local_epoch: int = 0
    """The newest attempt whose program ran, as far as the job's directory knows."""

    @property
    def layout(self) -> JobLayout:
        """The paths of the job."""
        return JobLayout(path_of(self.root))


def tell(**values: Any) -> None:
    """Report VALUES to the supervisor, as one line on standard output."""
    sys.stdout.buffer.write(json_of(values) + b"\n")
    sys.stdout.buffer.flush()
