"""``dmtcp-ctl prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, show, warn
from dmtcp_py.report.generations import pruned

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl prune --dry-run
  dmtcp-ctl prune sim --keep 1
  dmtcp-ctl prune --finished
"""


@click.command("prune", epilog=_EXAMPLES)
@job_argument
@click.option(
    "--keep", type=click.IntRange(min=1), default=2, show_default=True, metavar="N", help="Generations to keep."
)
@click.option("--finished", is_flag=True, help="Remove all generations of jobs that have finished.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one parameter for each option
    directory: Path, job: str | None, *, keep: int, finished: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove old generations. The newest one of an unfinished job is never removed."""
    rows = [
        row
        for layout in jobs_named(directory, job)
        for row in pruned(layout, keep=keep, finished=finished, dry_run=dry_run, warn=warn)
    ]
    show(rows, as_json=as_json)
