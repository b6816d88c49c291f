"""The options of one attempt, as set on the command line or by a Python program."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_LIMIT = ("requeue", "resubmit", "exit")
NODES = ("auto", "1")
WAIT, EXIT = "wait", "exit"
GATE_THEN = (WAIT, EXIT)
HOST_NETWORK, OWN_NETWORK = "host", "own"
NETWORKS = (HOST_NETWORK, OWN_NETWORK)
_MOST_STATUS = 255
_MOST_PER_CENT = 50
_OURS = ("--stdin", "--stdout", "--stderr", "--fresh", "--resume-only", "--time-limit", "--at-limit", "--interval")
"""Options of dmtcp-run that few programs have."""
DIRECTORY = ".dmtcp-run"
"""Where jobs are, in the directory in which they are started, unless another is asked for."""
_SAID_ELSEWHERE = ("command", "directory", "job", "typed")


class RunOptions(Struct, frozen=True):
    """The options of one attempt; times are in seconds.

    ``interval_s``: None for no interval checkpoints, negative for ``auto``. ``checkpointed_status``: None for the
    scheduler's convention. ``time_limit_s``: None for the scheduler's limit. ``lead_s``: None to learn it from earlier
    checkpoints. ``at_limit``: one of AT_LIMIT; None to requeue if that is allowed, and otherwise exit.
    ``stage_local``: a directory on a node-local disk. ``nodes``: ``1``, or ``auto`` for all nodes of the allocation;
    None is ``auto`` for MPI launchers and ``1`` for other programs. ``network``: one of NETWORKS; None for by
    what is run. ``engine``: ``auto``, ``dmtcp``, ``criu`` or an engine that an installed package registers.
    ``engine_plugin``: an engine class that no package registers, as MODULE:CLASS. ``array_chain``: whether the tasks of
    a job array continue one job. ``allow_unprotected``: whether to run a program that no engine can checkpoint.
    ``gate``: a command for a shell that says by its status whether the program may run; it is asked every
    ``gate_every_s``. ``gate_then``: one of GATE_THEN; None is ``exit`` in a batch job, otherwise ``wait``.
    ``keep_record``: whether the record of changed files is kept from the program's start on, also where no generation
    needs it any more. ``mtti_s``: the mean time between interruptions, for the interval ``auto``; None to learn it.
    ``max_overhead``: per cent of the time that checkpoints take at most at that interval. ``mirrors``: places to which
    each generation is copied; ``mirror_rate``: bytes a second at most, to each. ``seal``: whether committed
    generations are compressed while the program runs. ``typed``: the words of the command line before the program; None
    if there is no such line. Raises UsageError if a value is impossible, or two contradict
    each other.
    """

    command: tuple[str, ...]
    directory: Path = Path(DIRECTORY)
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
    gate: str | None = None
    gate_then: str | None = None
    gate_every_s: float = 60.0
    keep_record: bool = False
    mirrors: tuple[str, ...] = ()
    mirror_rate: float | None = None
    mtti_s: float | None = None
    max_overhead: float = 2.0
    seal: bool = False
    typed: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise UsageError(problem)

    def in_force(self) -> dict[str, object]:
        """Return what is set, by name, as plain values; the command and the job are said elsewhere."""
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _SAID_ELSEWHERE}
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in values.items()
            if name == "interval_s" or value not in (None, False)
        }

    def notes(self) -> list[str]:
        """Return notes on words after the program that may be meant for dmtcp-run; none on those after a ``--``."""
        words = self.command[1 : self.command.index("--")] if "--" in self.command else self.command[1:]
        return [
            f"{word} stands after the program and is passed to it; options of dmtcp-run stand before the program"
            for word in words
            if word.partition("=")[0] in _OURS
        ]

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
        for option, value, known in (
            ("--at-limit", self.at_limit, AT_LIMIT),
            ("--nodes", self.nodes, NODES),
            ("--gate-then", self.gate_then, GATE_THEN),
            ("--network", self.network, NETWORKS),
        ):
            if value not in (None, *known):
                yield f"{option} must be one of {', '.join(known)}, not {value!r}"
        yield from _outside("--gate-every", self.gate_every_s, least=1)
        if self.mtti_s is not None and self.mtti_s <= 0:
            yield "--mtti must be longer than 0"
        if not 0 < self.max_overhead <= _MOST_PER_CENT:
            yield f"--max-overhead must be above 0 and at most {_MOST_PER_CENT}, not {self.max_overhead}"
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
