"""How an attempt ended, and the options that it was given: the values that the parts hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CHECKPOINTED_STATUS = 85
FAILED_STATUS = 125
AT_LIMIT = ("requeue", "resubmit", "exit")


class Kind(Enum):
    """The ways in which an attempt ends; the values stand in the history and in ``state.json``."""

    FINISHED = "finished"
    """The program ended by itself with a status of its own."""
    SIGNALLED = "signalled"
    """A signal killed the program; from whom cannot be told, so the next attempt resumes."""
    CHECKPOINTED = "checkpointed"
    """A last checkpoint is committed, and nothing of the program ran after it."""
    STOPPED = "stopped"
    """We killed the program because we were told twice to stop."""
    KILLED_BY_COMMAND = "killed by command"
    """Somebody else had the engine kill the program, as with ``dmtcp_command -k``."""
    ENGINE_FAILED = "engine failed"
    """The engine lost the program, and no generation could take over."""
    REFUSED = "refused"
    """We ended the program because it cannot be checkpointed."""
    OUT_OF_TIME = "out of time"
    """The time limit came, and the last checkpoint before it had failed."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended; STATUS is what dmtcp-run exits with."""

    kind: Kind
    status: int
    job: str
    generation: int | None = None
    detail: str = ""
    stopped_for: str | None = None
    """Why the last checkpoint was taken: ``time limit``, ``request`` or the name of a signal."""


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
