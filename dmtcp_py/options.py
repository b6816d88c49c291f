"""The options of one attempt, as set on the command line or by a Python program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

AT_LIMIT = ("requeue", "resubmit", "exit")


@dataclass(frozen=True)
class RunOptions:
    """The options of one attempt; times are in seconds.

    ``interval_s``: None for no interval checkpoints, negative for ``auto``. ``checkpointed_status``: None for the
    scheduler's convention. ``time_limit_s``: None for the scheduler's limit. ``lead_s``: None to learn it from earlier
    checkpoints. ``at_limit``: one of AT_LIMIT; None to requeue if that is allowed, and otherwise exit.
    ``stage_local``: a directory on a node-local disk. ``nodes``: ``1``, or ``auto`` for all nodes of the allocation;
    None is ``auto`` for MPI launchers and ``1`` for other programs. ``engine``: ``auto``, ``dmtcp``, ``criu`` or an
    engine that an installed package registers. ``engine_plugin``: an engine class that no package registers, as
    MODULE:CLASS. ``array_chain``: whether the tasks of a job array continue one job. ``allow_unprotected``: whether to
    run a program that no engine can checkpoint.
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
    array_chain: bool = False
    allow_unprotected: bool = False
    accept_changed_files: bool = False
