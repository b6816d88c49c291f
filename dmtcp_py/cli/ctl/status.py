"""``dmtcp-ctl status``."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, show, warn
from dmtcp_py.messages import one_line
from dmtcp_py.report import job_page, words
from dmtcp_py.report.seen import look
from dmtcp_py.report.status import batch_jobs
from dmtcp_py.store.history import read_history
from dmtcp_py.store.records import utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dmtcp_py.report.seen import Seen
    from dmtcp_py.store.layout import JobLayout


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl status
  dmtcp-ctl status sim
  dmtcp-ctl --dir /scratch/ann/jobs status --watch
"""


@click.command("status", epilog=_EXAMPLES)
@job_argument
@click.option("--wide", is_flag=True, help="Show everything, in one line a job.")
@click.option("--watch", is_flag=True, help="Show it again and again, until no job runs or waits any more.")
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, wide: bool, watch: bool, as_json: bool) -> int:
    """Show what each job is doing, or how it ended; all about one JOB.

    IS: what it is doing. COMPUTED: for how long, without what was lost: after a crash only what the last checkpoint
    saved counts. LAST, NEXT: the checkpoints. LEFT: until the time limit. SIZE: of the generations on disk.
    """
    if watch and not (as_json or wide):
        from dmtcp_py.cli.ctl.watch import watch as watch_jobs  # noqa: PLC0415 - for whoever watches

        found = watch_jobs(lambda: jobs_named(directory, job), warn)
    else:
        layouts = jobs_named(directory, job)
        found = look(layouts, batch_jobs(layouts, warn))
        _show(found, layouts, is_one=job is not None, is_wide=wide, as_json=as_json)
    for seen in found:
        if seen.row["problem"] and not as_json:
            warn(f"job {seen.row['job']}: {seen.row['problem']}")
    return int(any(seen.row["problem"] for seen in found))


def _show(found: Sequence[Seen], layouts: Sequence[JobLayout], *, is_one: bool, is_wide: bool, as_json: bool) -> None:
    if as_json or is_wide or not found:
        show([seen.row for seen in found], as_json=as_json)
        return
    now = utc_now()
    if is_one:
        lines = job_page.page(found[0].row, read_history(layouts[0]), now, found[0].step)
    else:
        is_read = sys.stdout is not None and sys.stdout.isatty()
        rows = [words.cells(seen.row, now, seen.step) for seen in found]
        lines = words.table(rows, shutil.get_terminal_size().columns if is_read else None)
    for line in lines:
        click.echo(one_line(line))
