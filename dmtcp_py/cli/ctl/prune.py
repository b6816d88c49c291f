"""``dmtcp-ctl prune``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, show, warn
from dmtcp_py.report.generations import pruned
from dmtcp_py.store.removal import fsync_all, remove_all

if TYPE_CHECKING:
    from pathlib import Path


_PATIENCE_S = 0.25
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
    """Remove old generations. The newest one of an unfinished job is never removed.

    'dmtcp-ctl remove JOB' removes a job and all that is kept of it.

    If a file system takes long to remove the files, that goes on in the background.
    """
    prune = partial(pruned, keep=keep, finished=finished, dry_run=dry_run, warn=warn)
    found = list(map(prune, jobs_named(directory, job)))
    fsync_all([one.history for one in found if one.doomed])
    show([row for one in found for row in one.rows], as_json=as_json)
    if text := remove_all([folder for one in found for folder in one.doomed], patience_s=_PATIENCE_S):
        warn(text)
