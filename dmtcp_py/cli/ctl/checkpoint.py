"""``dmtcp-ctl checkpoint``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py import here
from dmtcp_py.cli.ctl.common import answer_timeout_option, job_argument, request_and_show, warn

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl checkpoint
  dmtcp-ctl checkpoint sim
  dmtcp-ctl checkpoint --self  (in a script that dmtcp-run runs)
"""


@click.command("checkpoint", epilog=_EXAMPLES)
@job_argument
@click.option(
    "--self",
    "is_self",
    is_flag=True,
    help="Checkpoint the job in which this command runs, between two steps of a script. "
    "Prints nothing, and does nothing outside a job.",
)
@answer_timeout_option
@click.pass_obj
def command(directory: Path, job: str | None, timeout_s: float, *, is_self: bool) -> int:
    """Checkpoint a running job now. The program continues."""
    if is_self:
        return _checkpoint_self(job, timeout_s)
    return request_and_show(directory, job, "checkpoint", timeout_s)


def _checkpoint_self(job: str | None, timeout_s: float) -> int:
    """Checkpoint the job around this process; its output is the program's, so print nothing unless that failed."""
    if job is not None:
        raise click.UsageError("--self is the job in which this command runs: leave out the name")
    if here.attempt == 0 or here.checkpoint(timeout_s) is not None:
        return 0
    warn("no checkpoint was taken; dmtcp-run says why on its standard error")
    return 1
