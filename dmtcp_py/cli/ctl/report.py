"""``dmtcp-ctl report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dmtcp_py import __version__
from dmtcp_py.cli.ctl.common import job_argument, jobs_named, json_option, one_job, warn
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.report.status import batch_jobs
from dmtcp_py.store.records import json_of, utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.report.account import Account

_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl report sim
  dmtcp-ctl report sim -o sim.html
  dmtcp-ctl report --all --json
"""
_STANDARD_OUTPUT = Path("-")


@click.command("report", epilog=_EXAMPLES)
@job_argument
@click.option("--all", "is_all", is_flag=True, help="Write one page on all jobs.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="File to write; - is standard output.  [default: report-JOB.html, or report.html with --all]",
)
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, is_all: bool, output: Path | None, as_json: bool) -> None:
    """Write a page on a job: what it computed, lost and cost, and whether all is well.

    The page shows a timeline of all attempts, the sizes and pauses of checkpoints, failures with their reasons, and the
    options. It is one file that needs no network. --json prints the same figures.
    """
    from dmtcp_py.report.account import account_of, plain  # noqa: PLC0415 - the other commands need none of it

    if is_all and job is not None:
        raise click.UsageError("--all is for all jobs: leave JOB out")
    layouts = jobs_named(directory, None) if is_all else [one_job(directory, job, otherwise=", or type --all")]
    batch = batch_jobs(layouts, warn)
    found = [account_of(layout, batch) for layout in layouts]
    if as_json:
        values = [plain(one, is_whole=not is_all) for one in found]
        text = msgspec.json.format(json_of(values if is_all else values[0]), indent=2).decode()
        _write(text, output or _STANDARD_OUTPUT)
    else:
        name = "report.html" if is_all else f"report-{layouts[0].name}.html"
        target = output or Path(name)
        if target != _STANDARD_OUTPUT and not is_all:
            click.echo(f"job {layouts[0].name}: {found[0].findings[0].text}")
            click.echo(found[0].summary)
        _write(_page(found, directory, is_all=is_all), target)


def _page(found: Sequence[Account], directory: Path, *, is_all: bool) -> str:
    from dmtcp_py.report import pages  # noqa: PLC0415 - jinja2 takes 50 ms to import

    if is_all:
        return pages.jobs_report(found, str(directory), utc_now(), __version__)
    return pages.job_report(found[0], __version__)


def _write(text: str, output: Path) -> None:
    """Write TEXT to file OUTPUT, and say so, or to standard output."""
    if output == _STANDARD_OUTPUT:
        click.echo(text)
        return
    try:
        output.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DmtcpRunError(f"{output} cannot be written: {error.strerror}", "name another file with -o") from error
    click.echo(f"{output} is written")
