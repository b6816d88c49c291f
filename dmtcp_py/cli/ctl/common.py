"""What the commands of ``dmtcp-ctl`` share: common arguments, and rows printed as JSON or as columns."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dmtcp_py.cli.common import MirrorOption
from dmtcp_py.cli.completion import complete_job
from dmtcp_py.errors import NoSuchJobError, UsageError
from dmtcp_py.messages import one_line
from dmtcp_py.store.layout import job_layout, jobs_in
from dmtcp_py.store.lock import is_running
from dmtcp_py.store.records import json_of
from dmtcp_py.store.requests import request_action
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
job_argument = click.argument("job", required=False, shell_complete=complete_job)
mirror_option = click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    cls=MirrorOption,
    help="Look there instead of into the directory of the jobs; - for what is set for dmtcp-run.",
)
answer_timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for the answer.",
)


def jobs_named(directory: Path, name: str | None) -> list[JobLayout]:
    """Return the job NAME in DIRECTORY, or all jobs if NAME is None; raise NoSuchJobError if there is none.

    A beginning of its name that no other job has is enough.
    """
    if not directory.is_dir():
        raise NoSuchJobError(
            f"there are no jobs here: there is no directory {directory}",
            "cd to where the job was started, or name the directory of the jobs with --dir",
        )
    found = list(jobs_in(directory))
    if name is None:
        return found
    if job_layout(directory, name) in found:
        return [job_layout(directory, name)]
    begin_so = [layout for layout in found if layout.name.startswith(name)]
    if len(begin_so) > 1:
        names = ", ".join(layout.name for layout in begin_so)
        raise NoSuchJobError(f"several jobs in {directory} begin with '{name}'", f"type more of one: {names}")
    if not begin_so:
        names = ", ".join(layout.name for layout in found) or "none"
        raise NoSuchJobError(f"there is no job '{name}' in {directory}", f"jobs there: {names}")
    return begin_so


def mirrors_meant(urls: Sequence[str]) -> list[str]:
    """Return URLS, in which a dash stands for the mirrors that are set for dmtcp-run. Raises UsageError."""
    from dmtcp_py.cli.config import settings  # noqa: PLC0415 - only for mirrors
    from dmtcp_py.cli.run import command as run  # noqa: PLC0415

    if list(urls) != ["-"]:
        return list(urls)
    found = settings(run, os.environ).get("mirrors")
    if found is None:
        raise UsageError("no mirror is set for dmtcp-run", "name one: --mirror URL")
    return list(found.value)


def one_job(directory: Path, name: str | None, *, otherwise: str = "") -> JobLayout:
    """Return the job NAME in DIRECTORY, or without a NAME the only one, or the only one that runs.

    Raises NoSuchJobError if there is none, or several; OTHERWISE is what else can be typed then.
    """
    found = jobs_named(directory, name)
    if len(found) > 1:
        running = [layout for layout in found if is_running(layout)]
        found = running if len(running) == 1 else found
    if not found:
        raise NoSuchJobError(f"there is no job in {directory}", "name the directory of the jobs with --dir")
    if len(found) > 1:
        names = ", ".join(layout.name for layout in found)
        raise NoSuchJobError(f"there are several jobs in {directory}", f"name one of them{otherwise}: {names}")
    return found[0]


def request_and_show(directory: Path, job: str | None, action: str, timeout_s: float) -> int:
    """Request ACTION from the running attempt of JOB and print the answer; return the exit status."""
    answer = request_action(one_job(directory, job), action, timeout_s=timeout_s, say=warn)
    click.echo(answer.answer, err=not answer.ok)
    return 0 if answer.ok else 1


def show(rows: Sequence[dict[str, Any]], *, as_json: bool, without: str = "nothing to show") -> None:
    """Print ROWS as JSON, or as columns in which a dash stands for None; WITHOUT is printed if there are none."""
    if as_json:
        click.echo(msgspec.json.format(json_of(rows), indent=2))
        return
    shown = [{key: value for key, value in row.items() if not isinstance(value, list | dict)} for row in rows]
    if not shown:
        click.echo(without, err=True)
        return
    cells = [
        [key.removesuffix("_s").replace("_", " ").upper() for key in shown[0]],
        *([_cell(key, value) for key, value in row.items()] for row in shown),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def warn(text: str) -> None:
    """Print TEXT as one line on standard error."""
    click.echo(f"dmtcp-ctl: {text}", err=True)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "size":
        return format_size(value)
    if key == "heartbeat_s":
        return f"{format_duration(value)} ago"
    if key.endswith("_s") and isinstance(value, float):
        return format_duration(value)
    if key in ("since", "last_checkpoint"):
        return f"{datetime.fromisoformat(value).astimezone():%m-%d %H:%M:%S}"
    if key in ("next_checkpoint", "ends"):
        left_s = (datetime.fromisoformat(value) - datetime.now(timezone.utc)).total_seconds()
        return f"in {format_duration(max(left_s, 0))}"
    return one_line(str(value))
