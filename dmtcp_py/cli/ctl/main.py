"""The command line of ``dmtcp-ctl``: the group of its commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from dmtcp_py import __version__
from dmtcp_py.cli.common import directory_option, run_and_exit
from dmtcp_py.cli.config import defaults
from dmtcp_py.cli.ctl import (
    checkpoint,
    completion,
    config,
    doctor,
    fetch,
    list_,
    prune,
    rehearse,
    remove,
    report,
    setup,
    status,
    stop,
    verify,
)
from dmtcp_py.cli.run import command as run
from dmtcp_py.cli.sections import Section, SectionedGroup

if TYPE_CHECKING:
    from pathlib import Path

_STATUSES = """\
\b
Exit status:
  0    success
  1    a problem was found
  2    wrong usage
  10   no such job or generation
  11   the job is running
  130  interrupted
"""


_SECTIONS: tuple[Section, ...] = (
    ("Before a long run", ("rehearse", "doctor", "setup", "config", "completion")),
    ("Jobs", ("status", "report", "checkpoint", "stop")),
    ("What is kept of jobs", ("list", "verify", "prune", "remove", "fetch")),
)
_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl rehearse -- ./simulate model.cfg
  dmtcp-ctl status --watch
  dmtcp-ctl stop sim

"""


@click.group(
    cls=SectionedGroup,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES + _STATUSES,
)
@directory_option
@click.version_option(__version__, prog_name="dmtcp-ctl")
@click.pass_context
def command(context: click.Context, directory: Path) -> None:
    """Show and control the jobs of dmtcp-run.

    The beginning of a job's name is enough. Where JOB may be left out, every job is meant, or the only one; for
    doctor, the machine.
    """
    context.obj = directory


_AT_JOBS = (status, report, list_, verify, prune, remove, fetch, checkpoint, stop)
for module in (rehearse, *_AT_JOBS, doctor, setup, completion, config):
    command.add_command(module.command)


def main() -> None:
    """Run the command line."""
    run_and_exit(_main, "dmtcp-ctl", failed_status=1)


def _main() -> int | None:
    # of what is set for dmtcp-run, it needs to know where the jobs are
    settings = {name: value for name, value in defaults(run, os.environ).items() if name == "directory"}
    status: int | None = command.main(prog_name="dmtcp-ctl", standalone_mode=False, default_map=settings)
    return status
