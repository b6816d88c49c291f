"""``dmtcp-ctl remove``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.cli.completion import complete_job
from dmtcp_py.cli.ctl.common import jobs_named, one_job, warn
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.lock import hold_for_maintenance, is_running, refuse_running
from dmtcp_py.store.removal import remove_all, take_out_job
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

_PATIENCE_S = 1.0
_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl remove sim model-1b0c7a52
  dmtcp-ctl remove sim --unfinished
  dmtcp-ctl remove --finished
"""


@click.command("remove", epilog=_EXAMPLES)
@click.argument("jobs", nargs=-1, metavar="[JOB...]", shell_complete=complete_job)
@click.option("--unfinished", is_flag=True, help="Remove a job that could still be resumed, too.")
@click.option("--finished", is_flag=True, help="Remove all jobs that have finished.")
@click.pass_obj
def command(directory: Path, jobs: tuple[str, ...], *, unfinished: bool, finished: bool) -> None:
    """Remove jobs with their generations and their history.

    A job that runs is not removed. The program's own files, its output among them, stay, and so do copies at a mirror.
    """
    if bool(jobs) is finished:
        raise click.UsageError("name the jobs to remove, or type --finished for all that have finished")
    found = {layout.name: layout for layout in (one_job(directory, name) for name in jobs)}
    if finished:
        found = {layout.name: layout for layout in jobs_named(directory, None) if _has_finished(layout)}
    for layout in found.values():
        refuse_running(layout)
        if not unfinished:
            _refuse_unfinished(layout)
    doomed = [_taken_out(layout) for layout in found.values()]
    text = remove_all(doomed, patience_s=_PATIENCE_S)
    click.echo(f"removed {', '.join(found) or 'none'}")
    if text:
        warn(text)


def _refuse_unfinished(layout: JobLayout) -> None:
    """Raise DmtcpRunError if the job could still be resumed."""
    numbers = layout.generation_numbers()
    if numbers and not _has_finished(layout):
        raise DmtcpRunError(
            f"job {layout.name} has not finished, and can be resumed from generation {numbers[-1]}",
            f"'dmtcp-ctl remove {layout.name} --unfinished' removes it all the same",
        )


def _has_finished(layout: JobLayout) -> bool:
    state = read_state(layout)
    return state is not None and state.phase == Kind.FINISHED.value and not is_running(layout)


def _taken_out(layout: JobLayout) -> Path:
    with hold_for_maintenance(layout):
        return take_out_job(layout)
