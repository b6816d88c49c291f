"""Jobs as they are at a moment: the status of each, and the step that it is at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dmtcp_py.report.status import GATED, SUSPENDED, status_of
from dmtcp_py.report.step import Step, step_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.report.status import BatchId
    from dmtcp_py.store.layout import JobLayout

_ACTIVE = ("running", "waiting", GATED, SUSPENDED)


class Seen(Struct, frozen=True):
    """A job at a moment, with the step that it is at."""

    row: dict[str, Any]
    step: Step | None

    @property
    def is_active(self) -> bool:
        """Whether it runs, or is going to."""
        return self.row["phase"] in _ACTIVE


def look(layouts: Sequence[JobLayout], batch: Mapping[BatchId, BatchJob]) -> list[Seen]:
    """Return what the jobs of LAYOUTS are doing."""
    rows = [(status_of(layout, batch).row, layout) for layout in layouts]
    return [Seen(row, _step(row, layout)) for row, layout in rows]


def _step(row: dict[str, Any], layout: JobLayout) -> Step | None:
    return step_of(layout, len(row["generations"]), row["size"]) if row["phase"] == "running" else None
