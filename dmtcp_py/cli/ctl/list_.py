"""``dmtcp-ctl list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, show
from dmtcp_py.report.generations import generations_of

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl list
  dmtcp-ctl list sim
  dmtcp-ctl list --json
"""


@click.command("list", epilog=_EXAMPLES)
@job_argument
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, as_json: bool) -> None:
    """List the generations of each job."""
    show([row for layout in jobs_named(directory, job) for row in generations_of(layout)], as_json=as_json)
