"""What happens to an attempt, and what `dmtcp_py.attempt.policy` has it do. Times are as there. PURE."""

from __future__ import annotations

from msgspec import Struct


class TimePassed(Struct, frozen=True):
    """Nothing happened but time."""


class Signalled(Struct, frozen=True):
    """dmtcp-run was sent a signal."""

    signum: int


class Asked(Struct, frozen=True):
    """dmtcp-ctl asked for something: ``checkpoint`` or ``stop``."""

    action: str


class GateClosed(Struct, frozen=True):
    """The gate says that the program is not to run now."""


class LimitSeen(Struct, frozen=True):
    """The time limit as it is known now: see the fields of `Situation`; both None where there is none."""

    stop_at: float | None
    end_at: float | None


class CheckpointEnded(Struct, frozen=True):
    """The checkpoint in progress ended; ``interval_s`` is the interval to use from now on."""

    ok: bool
    interval_s: float | None
    was_blocked: bool = False
    """Whether the engine cannot checkpoint something that the program has, so that nothing was begun."""
    may_pass: bool = False
    """Whether programs usually have it for moments only."""


class PutOff(Struct, frozen=True):
    """A checkpoint was not begun, as `may_begin` said."""

    checkpoint: Checkpoint


Event = TimePassed | Signalled | Asked | GateClosed | LimitSeen | CheckpointEnded | PutOff


class Wait(Struct, frozen=True):
    """Let the program run."""


class Checkpoint(Struct, frozen=True):
    """Take a checkpoint now; with ``then_stop`` no process of the program runs after it."""

    reason: str
    then_stop: bool


class EndAttempt(Struct, frozen=True):
    """The last checkpoint is committed: end this attempt."""


class StopNow(Struct, frozen=True):
    """End the program at once, without a checkpoint."""

    signum: int


class GiveUp(Struct, frozen=True):
    """The time is over and the last checkpoint failed: end the program, and rely on the newest generation."""


class Refuse(Struct, frozen=True):
    """The program cannot be checkpointed and never was: end it."""


class RunOn(Struct, frozen=True):
    """The last checkpoint failed and the program is alive: say so and let it run."""


Action = Wait | Checkpoint | EndAttempt | StopNow | GiveUp | Refuse | RunOn
