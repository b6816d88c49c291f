"""``dmtcp-ctl fetch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.common import MirrorOption
from dmtcp_py.cli.ctl.common import mirrors_meant
from dmtcp_py.store.layout import job_layout

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl fetch simulate-1b0c7a52 --mirror s3://bucket/jobs
  dmtcp-ctl fetch big --generation 7
  dmtcp-ctl --dir /scratch/ann/jobs fetch big
"""


@click.command("fetch", epilog=_EXAMPLES)
@click.argument("job")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    cls=MirrorOption,
    default=("-",),
    help="Where to fetch from.  [default: what is set for dmtcp-run]",
)
@click.option(
    "--generation", type=click.IntRange(min=1), metavar="N", help="Fetch generation N.  [default: the newest]"
)
@click.pass_obj
def command(directory: Path, job: str, *, mirrors: tuple[str, ...], generation: int | None) -> None:
    """Fetch a job and its newest generation from a mirror, as dmtcp-run does before a resume."""
    from dmtcp_py.messages import Report  # noqa: PLC0415
    from dmtcp_py.report.mirrors import fetch  # noqa: PLC0415 - only for mirrors

    layout = job_layout(directory.absolute(), job)
    numbers = fetch(mirrors_meant(mirrors), layout, generation, Report(prefix="dmtcp-ctl"))
    click.echo(f"job {job} is in {layout.root}, with generations {', '.join(map(str, numbers)) or 'none'}")
