"""``dmtcp-ctl status --watch``: a table that is drawn again on a terminal, or a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from dmtcp_py.messages import one_line
from dmtcp_py.report import words
from dmtcp_py.report.seen import look
from dmtcp_py.report.status import batch_jobs
from dmtcp_py.store.records import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.report.seen import Seen
    from dmtcp_py.report.status import BatchId
    from dmtcp_py.store.layout import JobLayout

_LOOK_S = 0.5
_ASK_S = 30.0
"""How often the scheduler is asked, which all users of a cluster share."""
_BAR = 30


class _Jobs:
    """The jobs that LAYOUTS returns, looked at again and again."""

    def __init__(self, layouts: Callable[[], Sequence[JobLayout]], warn: Callable[[str], None]) -> None:
        self._layouts, self._warn = layouts, warn
        self._batch: dict[BatchId, BatchJob] = {}
        self._asked_at: float | None = None

    def look(self) -> list[Seen]:
        layouts, now = self._layouts(), time.monotonic()
        if self._asked_at is None or now - self._asked_at > _ASK_S:
            self._asked_at, self._batch = now, batch_jobs(layouts, self._warn)
        return look(layouts, self._batch)


def watch(layouts: Callable[[], Sequence[JobLayout]], warn: Callable[[str], None]) -> list[Seen]:
    """Show what the jobs that LAYOUTS returns are doing until none runs or waits; return what they were at the end."""
    jobs = _Jobs(layouts, warn)
    is_read = sys.stdout is not None and sys.stdout.isatty()
    return _draw(jobs) if is_read else _print(jobs)


def _print(jobs: _Jobs) -> list[Seen]:
    """Print a line for each change."""
    known: dict[str, str] = {}
    while True:
        found = jobs.look()
        for seen in found:
            text = _line(seen)
            if known.get(seen.row["job"]) != text:
                known[seen.row["job"]] = text
                click.echo(one_line(f"{utc_now().astimezone():%H:%M:%S} {seen.row['job']}: {text}"))
        if not any(seen.is_active for seen in found):
            return found
        time.sleep(_LOOK_S)


def _line(seen: Seen) -> str:
    # a percentage would be a change each time
    step = seen.step.word if seen.step is not None else words.doing(seen.row)
    generation = f", generation {seen.row['generation']}" if seen.row["generation"] else ""
    return f"{step}{generation}"


def _draw(jobs: _Jobs) -> list[Seen]:
    from rich.console import Console  # noqa: PLC0415 - for a terminal alone, and it takes 50 ms to import
    from rich.live import Live  # noqa: PLC0415

    found = jobs.look()
    console = Console()
    with Live(_drawn(found, console.width), console=console, auto_refresh=False) as live:
        while any(seen.is_active for seen in found):
            time.sleep(_LOOK_S)
            found = jobs.look()
            live.update(_drawn(found, console.width), refresh=True)
    return found


def _drawn(found: Sequence[Seen], columns: int) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    now = utc_now()
    header, *rows = words.table([words.cells(seen.row, now, seen.step) for seen in found], columns)
    bars = Table.grid(padding=(0, 2))
    for seen in found:
        for text, share in _under_way(seen):
            bar = ProgressBar(total=None if share is None else 1.0, completed=share or 0.0, width=_BAR)
            bars.add_row(Text(seen.row["job"]), bar, Text(text))
    return Group(Text(header, style="bold"), *map(Text, rows), bars)


def _under_way(seen: Seen) -> Iterator[tuple[str, float | None]]:
    """Yield what of a job takes a while, in words, and the part of it that is done, None if that is not known."""
    if seen.step is not None:
        yield str(seen.step), seen.step.share
    for mirror in seen.row["mirrors"] or ():
        if mirror["copying"] is not None:
            yield f"copying {mirror['copying']} to {mirror['url']}", mirror["share"]
