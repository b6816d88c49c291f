"""The options of one attempt, as set on the command line or by a Python program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_LIMIT = ("requeue", "resubmit", "exit")
NODES = ("auto", "1")
HOST_NETWORK, OWN_NETWORK = "host", "own"
NETWORKS = (HOST_NETWORK, OWN_NETWORK)
_MOST_STATUS = 255


@dataclass(frozen=True)
class RunOptions:
    """The options of one attempt; times are in seconds.

    ``interval_s``: None for no interval checkpoints, negative for ``auto``. ``checkpointed_status``: None for the
    scheduler's convention. ``time_limit_s``: None for the scheduler's limit. ``lead_s``: None to learn it from earlier
    checkpoints. ``at_limit``: one of AT_LIMIT; None to requeue if that is allowed, and otherwise exit.
    ``stage_local``: a directory on a node-local disk. ``nodes``: ``1``, or ``auto`` for all nodes of the allocation;
    None is ``auto`` for MPI launchers and ``1`` for other programs. ``network``: one of NETWORKS; None for by
    what is run. ``engine``: ``auto``, ``dmtcp``, ``criu`` or an engine that an installed package registers.
    ``engine_plugin``: an engine class that no package registers, as MODULE:CLASS. ``array_chain``: whether the tasks of
    a job array continue one job. ``allow_unprotected``: whether to run a program that no engine can checkpoint.
    ``keep_record``: whether the record of changed files is kept from the program's start on, also where no generation
    needs it any more. Raises UsageError if a value is impossible, or two contradict each other.
    """

    command: tuple[str, ...]
    directory: Path = Path(".dmtcp-run")
    job: str | None = None
    interval_s: float | None = -1.0
    keep: int = 2
    checkpointed_status: int | None = None
    fresh: bool = False
    resume_only: bool = False
    generation: int | None = None
    stdin: Path | None = None
    stdout: Path | None = None
    stderr: Path | None = None
    engine: str = "auto"
    engine_plugin: str | None = None
    time_limit_s: float | None = None
    lead_s: float | None = None
    at_limit: str | None = None
    stage_local: Path | None = None
    nodes: str | None = None
    network: str | None = None
    array_chain: bool = False
    allow_unprotected: bool = False
    accept_changed_files: bool = False
    accept_changed_state: bool = False
    keep_record: bool = False

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise UsageError(problem)

    def _problems(self) -> Iterator[str]:
        """Yield what is wrong, in the words of the command line."""
        command = self.command
        if not command or not all(isinstance(word, str) for word in command):
            yield f"the command must be a program and its arguments, not {command!r}"
        yield from _outside("--keep", self.keep, least=1)
        yield from _outside("--generation", self.generation, least=1)
        yield from _outside("--checkpointed-status", self.checkpointed_status, least=0, most=_MOST_STATUS)
        yield from _outside("--lead", self.lead_s, least=0)
        if self.time_limit_s is not None and self.time_limit_s <= 0:
            yield "--time-limit must be longer than 0"
        if self.at_limit not in (None, *AT_LIMIT):
            yield f"--at-limit must be one of {', '.join(AT_LIMIT)}, not {self.at_limit!r}"
        if self.nodes not in (None, *NODES):
            yield f"--nodes must be one of {', '.join(NODES)}, not {self.nodes!r}"
        if self.network not in (None, *NETWORKS):
            yield f"--network must be one of {', '.join(NETWORKS)}, not {self.network!r}"
        if self.network == OWN_NETWORK and self.nodes == "auto":
            yield "--network own cannot be used with --nodes auto: it is a network within one node"
        if self.fresh and (self.resume_only or self.generation is not None):
            yield "--fresh cannot be used with --resume-only or --generation"
        if self.array_chain and self.at_limit == "resubmit":
            yield "--array-chain cannot be used with --at-limit resubmit: the next task of the array continues the job"


def _outside(option: str, value: float | None, *, least: int, most: float = math.inf) -> Iterator[str]:
    """Yield a sentence if the VALUE of OPTION is not between LEAST and MOST; None is."""
    if value is not None and not least <= value <= most:
        wanted = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        yield f"{option} must be {wanted}, not {value}"
