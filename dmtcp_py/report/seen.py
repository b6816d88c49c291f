"""Jobs as they are at a moment: the status of each, and the checkpoint that it is writing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmtcp_py.report.status import status_of
from dmtcp_py.report.writing import Writing, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.store.layout import JobLayout

_ACTIVE = ("running", "waiting")


@dataclass(frozen=True)
class Seen:
    """A job at a moment, with the checkpoint that it is writing."""

    row: dict[str, Any]
    writing: Writing | None

    @property
    def is_active(self) -> bool:
        """Whether it runs, or is going to."""
        return self.row["phase"] in _ACTIVE


def look(layouts: Sequence[JobLayout], batch: Mapping[str, BatchJob]) -> list[Seen]:
    """Return what the jobs of LAYOUTS are doing."""
    rows = [(status_of(layout, batch), layout) for layout in layouts]
    return [Seen(row, _writing(row, layout)) for row, layout in rows]


def _writing(row: dict[str, Any], layout: JobLayout) -> Writing | None:
    return writing(layout, len(row["generations"]), row["size"]) if row["phase"] == "running" else None
