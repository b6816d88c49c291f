"""The options of one attempt, as the command line or a Python program gives them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

AT_LIMIT = ("requeue", "resubmit", "exit")


@dataclass(frozen=True)
class RunOptions:
    """What one attempt is to do; times in seconds.

    ``interval_s`` is None for no interval checkpoints and negative for ``auto``; ``checkpointed_status`` None is the
    scheduler's convention; ``time_limit_s`` None is the scheduler's, and ``lead_s`` None is learned; ``at_limit`` is
    one of AT_LIMIT, None for a requeue where that is allowed; ``stage_local`` is a folder on a disk of the node.
    ``nodes`` is ``1`` or ``auto``, those of the allocation; None is ``auto`` for what starts MPI programs.
    ``engine`` is ``auto``, one of ours or one that an installed package registers; ``engine_plugin`` is the class of
    another, as MODULE:CLASS. ``array_chain`` makes the tasks of an array one job. ``allow_unprotected`` runs even a
    program that no engine can take.
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
