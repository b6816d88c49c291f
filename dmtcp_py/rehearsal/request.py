"""What is to be rehearsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path


class Request(Struct, frozen=True, kw_only=True):
    """What is to be rehearsed, where and how.

    ``directory`` is that of the jobs; ``time_s`` the bound; ``step_s`` the time between two steps, None
    for a share of that; ``engine`` one engine, or ``auto`` for all that are here.
    ``links`` are files that are linked into the copy; ``in_place``: rehearse in the working directory itself.
    """

    command: tuple[str, ...]
    directory: Path
    time_s: float
    step_s: float | None = None
    engine: str = "auto"
    compare: bool = False
    in_place: bool = False
    links: tuple[Path, ...] = ()
