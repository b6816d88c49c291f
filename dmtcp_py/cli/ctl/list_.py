"""``dmtcp-ctl list``."""

from __future__ import annotations

import shutil
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, mirror_option, mirrors_meant, show
from dmtcp_py.messages import one_line
from dmtcp_py.report import words
from dmtcp_py.report.generations import generations_of

if TYPE_CHECKING:
    from collections.abc import Sequence
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
@click.option("--wide", is_flag=True, help="Show everything, in one line a generation.")
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, mirrors: tuple[str, ...], wide: bool, as_json: bool) -> None:
    """List the generations of each job, here or at a mirror.

    A generation (GEN) is one complete checkpoint. REASON: why it was taken. PAUSE: how long the program waited for it.
    With --wide, LINEAGE: which start from the beginning it belongs to. ATTEMPT: which run of the line took it. PARENT:
    the generation before it. CHECKPOINT: as PAUSE.
    """
    if mirrors:
        from dmtcp_py.report.mirrors import listed_at  # noqa: PLC0415 - only for mirrors

        rows = listed_at(mirrors_meant(mirrors), job)
    else:
        rows = [row for layout in jobs_named(directory, job) for row in generations_of(layout)]
    if wide or as_json or not rows:
        show(rows, as_json=as_json, without="no generation yet" if job else "no job here has a generation yet")
        return
    for mirror, found in groupby(rows, lambda row: row.get("mirror")):
        _print(list(found), mirror)


def _print(rows: Sequence[dict[str, Any]], mirror: str | None) -> None:
    if mirror is not None:
        click.echo(f"{mirror}:")
    is_read = sys.stdout is not None and sys.stdout.isatty()
    for line in words.table_of_generations(rows, shutil.get_terminal_size().columns if is_read else None):
        click.echo(one_line(line))
