"""``dmtcp-run``: run a program so that the same command line resumes it."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dmtcp_py import __version__
from dmtcp_py.cli.common import (
    MirrorOption,
    bytes_a_second,
    directory_option,
    duration_s,
    interval_s,
    naming_the_line,
    run_and_exit,
    typed_before,
)
from dmtcp_py.cli.completion import complete_program
from dmtcp_py.cli.config import defaults
from dmtcp_py.cli.sections import Section, SectionedCommand
from dmtcp_py.errors import MovedError, UsageError
from dmtcp_py.messages import NORMAL, QUIET, VERBOSE, Report
from dmtcp_py.options import AT_LIMIT, GATE_THEN, NETWORKS, NODES, RunOptions

_SECTIONS: tuple[Section, ...] = (
    ("What most lines need", ("interval_s", "stdout", "stderr", "stdin", "job", "directory", "keep", "seal")),
    ("How often to checkpoint", ("max_overhead", "mtti_s")),
    (
        "In a batch job",
        ("time_limit_s", "lead_s", "at_limit", "array_chain", "nodes", "stage_local", "checkpointed_status"),
    ),
    ("While something says no", ("gate", "gate_then", "gate_every_s")),
    ("A second copy elsewhere", ("mirrors", "mirror_rate")),
    ("When there is something to resume", ("fresh", "resume_only", "generation", "accept_changed_files")),
    ("How the program is run", ("engine", "engine_plugin", "network", "allow_unprotected", "accept_changed_state")),
    ("What dmtcp-run prints", ("verbose", "quiet", "as_json")),
)
_EXAMPLES = """\
\b
Examples:
  dmtcp-run --stdout out.txt ./simulate model.cfg
  dmtcp-run -i 15m --stdout out.txt --stderr err.txt python3 train.py
  dmtcp-run --job big --time-limit 11h mpirun -n 8 ./model

"""
_STATUSES = """\
\b
Exit status:
  the program's own   the program finished
  128+n               signal n killed the program, or a second signal n
                      stopped it
  137                 also: the program was killed with dmtcp_command
  85                  checkpointed, not finished: run the same line again
                      (99 under Grid Engine; see --checkpointed-status)
  125                 dmtcp-run or the engine failed
  126, 127            the program cannot be executed, or is not found
  11                  the job is running elsewhere
  2                   wrong usage
"""


@click.command(
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES + _STATUSES,
    cls=SectionedCommand,
    sections=_SECTIONS,
    options_metavar="[OPTIONS] [--]",
)
@click.option(
    "--job", metavar="NAME", help="Name of the job.  [default: derived from command, directory and array task]"
)
@directory_option
@click.option(
    "-i",
    "--interval",
    "interval_s",
    metavar="T",
    callback=interval_s,
    default="auto",
    help="Time between checkpoints: seconds, 15m, D-HH:MM:SS, auto, or 0 for none.  [default: auto]",
)
@click.option(
    "--keep", type=click.IntRange(min=1), default=2, show_default=True, metavar="N", help="Generations to keep."
)
@click.option(
    "--max-overhead",
    type=click.FloatRange(min=0, max=50, min_open=True),
    default=2.0,
    show_default=True,
    metavar="P",
    help="Per cent of the time that checkpoints take at most at the interval auto.",
)
@click.option(
    "--mtti",
    "mtti_s",
    metavar="T",
    callback=duration_s,
    help="Mean time to an interruption, for the interval auto.  [default: learned, from one a day]",
)
@click.option(
    "--seal/--no-seal",
    default=False,
    help="Compress committed generations while the program runs, and store what they share only once.",
)
@click.option(
    "--time-limit",
    "time_limit_s",
    metavar="T",
    callback=duration_s,
    help="Time that this run may take, last checkpoint included. The scheduler's limit applies in any case.",
)
@click.option(
    "--lead",
    "lead_s",
    metavar="T",
    callback=duration_s,
    help="How long before the time limit the last checkpoint begins.  [default: learned from earlier checkpoints]",
)
@click.option(
    "--at-limit",
    type=click.Choice(AT_LIMIT),
    help="What to do after the last checkpoint.  [default: requeue if the scheduler allows it, otherwise exit]",
)
@click.option(
    "--array-chain",
    is_flag=True,
    help="Let the tasks of a job array, one at a time (--array=1-10%1), continue one job.  "
    "[default: each task is a job]",
)
@click.option(
    "--stage-local",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write images to DIR, on a node-local disk, and copy them to the job's directory while the program runs.",
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    cls=MirrorOption,
    help="Copy each generation there while the program runs: file:/PATH, s3://BUCKET/PATH, sftp://HOST/PATH, "
    "root://HOST//PATH or command:PROGRAM. A resume without the job's directory fetches from there. Repeatable.",
)
@click.option(
    "--mirror-rate",
    metavar="SIZE",
    callback=bytes_a_second,
    help="Bytes a second to each mirror at most: 50M, 500k.  [default: no limit]",
)
@click.option(
    "--checkpointed-status",
    type=click.IntRange(0, 255),
    metavar="N",
    help="Exit status that means 'checkpointed, run me again'.  [default: 85; 99 under Grid Engine]",
)
@click.option(
    "--gate",
    metavar="CMD",
    help="Run the program only while the shell command CMD exits with 0; otherwise checkpoint and stop it.",
)
@click.option(
    "--gate-then",
    type=click.Choice(GATE_THEN),
    help="After that, wait until CMD exits with 0, or exit.  [default: exit in a batch job, which is requeued, "
    "otherwise wait]",
)
@click.option(
    "--gate-every",
    "gate_every_s",
    metavar="T",
    callback=duration_s,
    default="1m",
    show_default=True,
    help="How often to run CMD.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Start over, but not again after a requeue or resubmission. "
    "Old generations stay until the new run commits its first.",
)
@click.option("--resume-only", is_flag=True, help="Fail if there is nothing to resume.")
@click.option(
    "--generation", type=click.IntRange(min=1), metavar="N", help="Resume generation N instead of the newest."
)
@click.option(
    "--stdin",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Standard input of the program. A resume continues at the position of the checkpoint.",
)
@click.option(
    "--stdout",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Standard output of the program: a resume neither loses nor repeats lines. Emptied at a start, not a resume.",
)
@click.option(
    "--stderr", type=click.Path(path_type=Path), metavar="F", help="Standard error of the program, in the same way."
)
@click.option(
    "--engine",
    metavar="[auto|dmtcp|criu|NAME]",
    default="auto",
    show_default=True,
    help="Checkpointing engine; NAME is one that an installed package registers. "
    "A generation is always resumed by the engine that made it.",
)
@click.option(
    "--engine-plugin",
    metavar="MODULE:CLASS",
    help="Use engine class MODULE:CLASS, which no installed package has to register.",
)
@click.option(
    "--nodes",
    type=click.Choice(NODES),
    help="auto: run on all nodes of the allocation; 1: only on this one.  [default: auto for mpirun, otherwise 1]",
)
@click.option(
    "--network",
    type=click.Choice(NETWORKS),
    help="own: a network of the program's own, in which it reaches only itself; CRIU without privileges needs that to "
    "checkpoint TCP connections.  [default: own for mpirun and torchrun under such a CRIU, otherwise host]",
)
@click.option(
    "--accept-changed-files",
    is_flag=True,
    help="Resume even if a file cannot be restored to what it was at the checkpoint.",
)
@click.option(
    "--accept-changed-state",
    is_flag=True,
    help="Resume even if a process is not what it was at the checkpoint.",
)
@click.option("--allow-unprotected", is_flag=True, help="Run even a program that no engine can checkpoint.")
@click.option("--keep-record", is_flag=True, hidden=True, help="Keep the record of changed files from the start on.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines of dmtcp-run as JSON objects.")
@click.option("-q", "--quiet", is_flag=True, help="Print only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print more messages.")
@click.version_option(__version__, prog_name="dmtcp-run")
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    required=True,
    metavar="PROGRAM [ARGS]...",
    shell_complete=complete_program,
)
def command(*, as_json: bool, quiet: bool, verbose: bool, **values: Any) -> int:
    """Run PROGRAM so that it survives time limits, preemption, crashes and reboots.

    The same line starts the program the first time, resumes it every time after, and exits with the program's status
    at the end. On SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2 dmtcp-run takes a last checkpoint, stops the program and
    exits with 85. A second SIGTERM or SIGINT stops the program at once.
    """
    try:
        options = RunOptions(**values, typed=tuple(typed_before(values["command"])))
    except UsageError as error:
        raise click.UsageError(error.what) from error
    # what is imported stays, so there is nothing yet for the collector of garbage to find
    gc.disable()
    from dmtcp_py.attempt.attempt import run  # noqa: PLC0415 - dmtcp-ctl and --help need the options alone

    gc.freeze()
    gc.enable()
    report = Report(_verbosity(quiet=quiet, verbose=verbose), as_json=as_json)
    try:
        with naming_the_line("dmtcp-run", options.command):
            return run(options, report).status
    except MovedError as error:
        from dmtcp_py.cli.old_path import go_on_by_old_path  # noqa: PLC0415 - few lines ever need it

        raise go_on_by_old_path(error) from error


def _verbosity(*, quiet: bool, verbose: bool) -> int:
    """Return how much is printed: what the line asks for comes before what is set for all lines."""
    source = click.get_current_context().get_parameter_source
    is_asked = {name: source(name) is ParameterSource.COMMANDLINE for name in ("quiet", "verbose")}
    if quiet and (is_asked["quiet"] or not is_asked["verbose"]):
        return QUIET
    return VERBOSE if verbose and not is_asked["quiet"] else NORMAL


def main() -> None:
    """Run the command line."""
    run_and_exit(_main, "dmtcp-run")


def _main() -> int | None:
    settings = defaults(command, os.environ)
    status: int | None = command.main(prog_name="dmtcp-run", standalone_mode=False, default_map=settings)
    return status
