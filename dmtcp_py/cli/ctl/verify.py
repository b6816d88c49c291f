"""``dmtcp-ctl verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, show
from dmtcp_py.report.generations import verified

if TYPE_CHECKING:
    from pathlib import Path


@click.command("verify")
@job_argument
@click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Verify only generation N.")
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, generation: int | None, *, as_json: bool) -> int:
    """Check that every image still has the size and content that were committed."""
    rows = [row for layout in jobs_named(directory, job) for row in verified(layout, generation)]
    show(rows, as_json=as_json)
    return int(any(row["problem"] for row in rows))
