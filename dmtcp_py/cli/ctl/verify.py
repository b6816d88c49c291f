"""``dmtcp-ctl verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, mirror_option, mirrors_meant, show
from dmtcp_py.messages import one_line
from dmtcp_py.report.generations import verified
from dmtcp_py.report.state import lines_of, state_of
from dmtcp_py.store.records import json_of

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl verify
  dmtcp-ctl verify sim --generation 7
  dmtcp-ctl verify sim --state
"""


@click.command("verify", epilog=_EXAMPLES)
@job_argument
@click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Verify only generation N.")
@click.option(
    "--state",
    "shows_state",
    is_flag=True,
    help="Print instead what was compared at the last resume, and what the newest generation, or generation N, "
    "recorded of each process.",
)
@mirror_option
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one parameter for each option
    directory: Path,
    job: str | None,
    *,
    generation: int | None,
    shows_state: bool,
    mirrors: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check that every image still has the size and content that were committed, here or at a mirror."""
    if mirrors:
        from dmtcp_py.report.mirrors import verified_at  # noqa: PLC0415 - only for mirrors

        rows = verified_at(mirrors_meant(mirrors), job, generation)
        show(rows, as_json=as_json)
        return int(any(row["problem"] for row in rows))
    layouts = jobs_named(directory, job)
    if shows_state:
        found = [state_of(layout, generation) for layout in layouts]
        if as_json:
            click.echo(msgspec.json.format(json_of(found), indent=2))
        for line in (line for one in found for line in lines_of(one) if not as_json):
            # names of threads are the program's
            click.echo(one_line(line))
        return int(any((one["last_resume"] or {}).get("differences") for one in found))
    rows = [row for layout in layouts for row in verified(layout, generation)]
    show(rows, as_json=as_json)
    return int(any(row["problem"] for row in rows))
