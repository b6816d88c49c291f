"""``dmtcp-ctl stop``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import answer_timeout_option, job_argument, request_and_show

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl stop
  dmtcp-ctl stop sim
  dmtcp-ctl --dir /scratch/ann/jobs stop sim
"""


@click.command("stop", epilog=_EXAMPLES)
@job_argument
@answer_timeout_option
@click.pass_obj
def command(directory: Path, job: str | None, timeout_s: float) -> int:
    """Checkpoint a running job and stop it, as SIGUSR1 does."""
    return request_and_show(directory, job, "stop", timeout_s)
