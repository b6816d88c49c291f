"""``dmtcp-ctl``: look at jobs and steer them, from anywhere that sees their directory."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dmtcp_py import __version__
from dmtcp_py.cli.common import directory_option, leave
from dmtcp_py.ctl import batch_jobs, checked, listed, order, pruned, status_of
from dmtcp_py.errors import EngineError, NoSuchJobError
from dmtcp_py.report import one_line
from dmtcp_py.store.layout import job_layout, jobs_in
from dmtcp_py.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dmtcp_py.packages import Offer
    from dmtcp_py.store.layout import JobLayout

_STATUSES = """\
\b
Exit status: 0; 1 a problem was found; 2 wrong usage; 10 no such job or
generation; 11 the job is running; 130 interrupted.
"""
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_job_argument = click.argument("job", required=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_STATUSES)
@directory_option
@click.version_option(__version__, prog_name="dmtcp-ctl")
@click.pass_context
def command(context: click.Context, directory: Path) -> None:
    """Look at the jobs of dmtcp-run, and steer them."""
    context.obj = directory


@command.command()
@_job_argument
@_json_option
@click.pass_obj
def status(directory: Path, job: str | None, *, as_json: bool) -> int:
    """Show what each job is doing, or how it ended."""
    layouts = _jobs(directory, job)
    batch = batch_jobs(_warn) if layouts else {}
    rows = [status_of(layout, batch) for layout in layouts]
    _show(rows, as_json=as_json)
    return int(any(row["problem"] for row in rows))


@command.command("list")
@_job_argument
@_json_option
@click.pass_obj
def list_(directory: Path, job: str | None, *, as_json: bool) -> int:
    """List the generations of each job."""
    return _show([row for layout in _jobs(directory, job) for row in listed(layout)], as_json=as_json)


@command.command()
@_job_argument
@click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Only generation N.")
@_json_option
@click.pass_obj
def verify(directory: Path, job: str | None, generation: int | None, *, as_json: bool) -> int:
    """Read every image and compare it with what was committed."""
    rows = [row for layout in _jobs(directory, job) for row in checked(layout, generation)]
    _show(rows, as_json=as_json)
    return int(any(row["problem"] for row in rows))


@command.command()
@_job_argument
@click.option("--keep", type=click.IntRange(min=1), default=2, show_default=True, metavar="N")
@click.option("--finished", is_flag=True, help="Remove all generations of jobs that have finished.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and change nothing.")
@_json_option
@click.pass_obj
def prune(  # noqa: PLR0913 - one for each option
    directory: Path, job: str | None, *, keep: int, finished: bool, dry_run: bool, as_json: bool
) -> int:
    """Remove old generations; the newest of an unfinished job always stays."""
    rows = [
        row
        for layout in _jobs(directory, job)
        for row in pruned(layout, keep=keep, finished=finished, dry_run=dry_run, warn=_warn)
    ]
    return _show(rows, as_json=as_json)


@command.command()
@click.argument("job")
@click.option("--timeout", "timeout_s", type=float, default=600.0, show_default=True, metavar="S")
@click.pass_obj
def checkpoint(directory: Path, job: str, timeout_s: float) -> int:
    """Have a running job commit a generation now, and go on."""
    return _order(directory, job, "checkpoint", timeout_s)


@command.command()
@click.argument("job")
@click.option("--timeout", "timeout_s", type=float, default=600.0, show_default=True, metavar="S")
@click.pass_obj
def stop(directory: Path, job: str, timeout_s: float) -> int:
    """Have a running job take its last checkpoint and stop, as SIGUSR1 does."""
    return _order(directory, job, "stop", timeout_s)


@command.command()
@_json_option
@click.pass_obj
def doctor(directory: Path, *, as_json: bool) -> int:
    """Look at this machine: engines and whether they work, privileges, locks, space, scheduler."""
    from dmtcp_py.doctor import examine, is_fit  # noqa: PLC0415 - the other commands need no engine

    findings = examine(directory)
    _show([asdict(finding) for finding in findings], as_json=as_json)
    return int(not is_fit(findings))


@command.command()
@click.option("--engine", type=click.Choice(["dmtcp", "criu"]), help="This one.  [default: whichever can be had]")
@click.option("-y", "--yes", is_flag=True, help="Run the package managers that have it, without asking.")
@click.option("--remove", is_flag=True, help="Remove the private copy of CRIU.")
@_json_option
def setup(*, engine: str | None, yes: bool, remove: bool, as_json: bool) -> int:
    """Bring an engine to this machine; of the system nothing is changed without being asked."""
    from dmtcp_py.engine import provision  # noqa: PLC0415 - the other commands need no engine

    def agree(offer: Offer) -> bool:
        return yes or (sys.stdin.isatty() and click.confirm(f"run '{offer.line}'?", err=True))

    try:
        result = provision.remove(_warn) if remove else provision.set_up(engine, agree=agree, say=_warn)
    except EngineError as error:
        _warn(str(error))
        return 1
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result.row), indent=2))
    else:
        for line in result.lines:
            click.echo(line)
    return int(not remove and not result.works)


def _order(directory: Path, job: str, action: str, timeout_s: float) -> int:
    answer = order(_jobs(directory, job)[0], action, timeout_s=timeout_s)
    click.echo(answer.answer, err=not answer.ok)
    return 0 if answer.ok else 1


def _jobs(directory: Path, name: str | None) -> list[JobLayout]:
    found = list(jobs_in(directory))
    if name is None:
        if not directory.is_dir():
            raise NoSuchJobError(f"there is no directory {directory}", "name it with --dir or DMTCP_RUN_DIR")
        return found
    if job_layout(directory, name) not in found:
        names = ", ".join(layout.name for layout in found) or "none"
        raise NoSuchJobError(f"there is no job '{name}' in {directory}", f"it has: {names}")
    return [job_layout(directory, name)]


def _show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> int:
    """Print ROWS as JSON, or as columns for people: None is a dash."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return 0
    shown = [{key: value for key, value in row.items() if not isinstance(value, list | dict)} for row in rows]
    if not shown:
        click.echo("nothing here", err=True)
        return 0
    cells = [
        [key.replace("_", " ").upper() for key in shown[0]],
        *([_cell(key, value) for key, value in row.items()] for row in shown),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _warn(text: str) -> None:
    click.echo(f"dmtcp-ctl: {text}", err=True)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key == "size":
        return format_size(value)
    if key == "heartbeat_s":
        return f"{format_duration(value)} ago"
    if key == "since":
        return f"{datetime.fromisoformat(value).astimezone():%m-%d %H:%M:%S}"
    if key in ("next_checkpoint", "ends"):
        left_s = (datetime.fromisoformat(value) - datetime.now(timezone.utc)).total_seconds()
        return f"in {format_duration(max(left_s, 0))}"
    return one_line(str(value))


def main() -> None:
    """Run the command line."""
    leave(lambda: command.main(prog_name="dmtcp-ctl", standalone_mode=False), "dmtcp-ctl", failed_status=1)
