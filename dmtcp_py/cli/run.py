"""``dmtcp-run``: run a program so that the same line resumes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dmtcp_py import __version__
from dmtcp_py.attempt.attempt import run
from dmtcp_py.cli.common import directory_option, duration_s, interval_s, leave
from dmtcp_py.messages import NORMAL, QUIET, VERBOSE, Report
from dmtcp_py.options import AT_LIMIT, RunOptions

_STATUSES = """\
\b
Exit status:
  the program's own   it finished
  128+n               signal n killed it, or a second signal n stopped it
  137                 also: somebody's dmtcp_command killed it
  85                  checkpointed and not finished: run the same line again
                      (99 under Grid Engine, or --checkpointed-status)
  125                 dmtcp-run or the engine failed
  126, 127            the program cannot be executed, is not found
  11                  the job is running elsewhere
  2                   wrong usage
"""


@click.command(
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    epilog=_STATUSES,
    options_metavar="[OPTIONS] [--]",
)
@click.option("--job", metavar="NAME", help="Which job this is.  [default: from command, directory and array task]")
@directory_option
@click.option(
    "-i",
    "--interval",
    "interval_s",
    metavar="T",
    callback=interval_s,
    default="auto",
    help="Time between checkpoints: 90, 15m, D-HH:MM:SS, auto, 0 for none.  [default: auto]",
)
@click.option(
    "--keep", type=click.IntRange(min=1), default=2, show_default=True, metavar="N", help="Generations to keep."
)
@click.option(
    "--time-limit",
    "time_limit_s",
    metavar="T",
    callback=duration_s,
    help="When the last checkpoint has to be done.  [default: the scheduler's]",
)
@click.option(
    "--lead",
    "lead_s",
    metavar="T",
    callback=duration_s,
    help="How long before that it begins.  [default: learned from what checkpoints cost]",
)
@click.option(
    "--at-limit",
    type=click.Choice(AT_LIMIT),
    help="What follows the last checkpoint.  [default: requeue, where the scheduler allows it]",
)
@click.option(
    "--array-chain",
    is_flag=True,
    help="The tasks of a job array, one at a time (--array=1-10%1), continue one job.  [default: each task is a job]",
)
@click.option(
    "--stage-local",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Have images written to DIR, on a disk of the node, and copied to the job's folder while the program runs.",
)
@click.option(
    "--checkpointed-status",
    type=click.IntRange(0, 255),
    metavar="N",
    help="Exit status for 'checkpointed, run me again'.  [default: 85; 99 under Grid Engine]",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Start over, once in a batch job; the old run's generations stay until the new one has its first.",
)
@click.option("--resume-only", is_flag=True, help="Fail where there is nothing to resume.")
@click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Resume generation N, not the newest.")
@click.option(
    "--stdin", type=click.Path(path_type=Path), metavar="F", help="Read F; its position belongs to the checkpoint."
)
@click.option(
    "--stdout",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Write F; exact whatever happens. Emptied at the start.",
)
@click.option("--stderr", type=click.Path(path_type=Path), metavar="F", help="The same for standard error.")
@click.option(
    "--engine",
    metavar="[auto|dmtcp|criu|NAME]",
    default="auto",
    show_default=True,
    help="What takes the images, NAME by an installed plugin; a generation is resumed by what made it.",
)
@click.option("--engine-plugin", metavar="MODULE:CLASS", help="Have them taken by an engine that is not installed.")
@click.option(
    "--nodes",
    type=click.Choice(["auto", "1"]),
    help="auto: the program uses the nodes of the allocation.  [default: auto for mpirun, else 1]",
)
@click.option(
    "--accept-changed-files",
    is_flag=True,
    help="Resume even where a file cannot be made what it was at the checkpoint.",
)
@click.option("--allow-unprotected", is_flag=True, help="Run even a program that no engine can take.")
@click.option("--json", "as_json", is_flag=True, help="Our lines as JSON objects.")
@click.option("-q", "--quiet", is_flag=True, help="Print only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print more.")
@click.version_option(__version__, prog_name="dmtcp-run")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, metavar="PROGRAM [ARGS]...")
def command(*, as_json: bool, quiet: bool, verbose: bool, **values: Any) -> int:
    """Run PROGRAM so that it survives time limits, preemption, crashes and reboots.

    The same line starts it the first time, resumes it every time after, and exits with its status at the end.
    SIGTERM, SIGINT, SIGHUP or SIGUSR1: take a last checkpoint, stop, exit with 85; a second SIGTERM or SIGINT stops
    at once.
    """
    if values["fresh"] and (values["resume_only"] or values["generation"]):
        raise click.UsageError("--fresh goes with neither --resume-only nor --generation")
    if values["array_chain"] and values["at_limit"] == "resubmit":
        raise click.UsageError("--array-chain does not go with --at-limit resubmit: the array's next task goes on")
    options = RunOptions(**values)
    report = Report(QUIET if quiet else VERBOSE if verbose else NORMAL, as_json=as_json)
    return run(options, report).status


def main() -> None:
    """Run the command line."""
    leave(lambda: command.main(prog_name="dmtcp-run", standalone_mode=False), "dmtcp-run")
