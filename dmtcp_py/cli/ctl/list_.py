"""``dmtcp-ctl list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, mirror_option, mirrors_meant, show
from dmtcp_py.report.generations import generations_of

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl list
  dmtcp-ctl list sim
  dmtcp-ctl list --mirror s3://bucket/jobs
"""


@click.command("list", epilog=_EXAMPLES)
@job_argument
@mirror_option
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, mirrors: tuple[str, ...], as_json: bool) -> None:
    """List the generations of each job, here or at a mirror.

    A generation is one complete checkpoint. REASON: why it was taken. LINEAGE: which start from the beginning it
    belongs to. ATTEMPT: which run of the line took it. PARENT: the generation before it. CHECKPOINT: how long the
    program waited for it.
    """
    if mirrors:
        from dmtcp_py.report.mirrors import listed_at  # noqa: PLC0415 - only for mirrors

        show(listed_at(mirrors_meant(mirrors), job), as_json=as_json)
        return
    show([row for layout in jobs_named(directory, job) for row in generations_of(layout)], as_json=as_json)
