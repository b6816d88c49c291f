"""``dmtcp-ctl status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, show, warn
from dmtcp_py.report.status import batch_jobs, status_of

if TYPE_CHECKING:
    from pathlib import Path


@click.command("status")
@job_argument
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, as_json: bool) -> int:
    """Show what each job is doing, or how it ended."""
    layouts = jobs_named(directory, job)
    batch = batch_jobs(warn) if layouts else {}
    rows = [status_of(layout, batch) for layout in layouts]
    show(rows, as_json=as_json)
    return int(any(row["problem"] for row in rows))
