"""The last line that an attempt prints. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.attempt.outcome import Kind

if TYPE_CHECKING:
    from dmtcp_py.attempt.outcome import Outcome

_ALLOWED = "--allow-unprotected"


def last_line(outcome: Outcome) -> str:
    """Return how the attempt ended, and what the same line does next."""
    if outcome.generation:
        again = f"the same line resumes from generation {outcome.generation}"
    else:
        again = "there is no generation yet, so the same line starts the program again"
    return {
        Kind.FINISHED: f"finished with status {outcome.status}",
        Kind.CHECKPOINTED: f"checkpointed and stopped; {again}",
        Kind.SIGNALLED: f"{outcome.detail or f'the program was killed by signal {outcome.status - 128}'}; {again}",
        Kind.STOPPED: f"stopped at once; {again}",
        Kind.HELD: f"not run, as {outcome.detail}; {again}",
        Kind.REFUSED: f"stopped, because it cannot be checkpointed: {_with_way_out(outcome.detail)}",
        Kind.UNSUITABLE: f"the program failed: {outcome.detail}",
        Kind.OUT_OF_TIME: f"stopped, because the time is over and the last checkpoint failed ({outcome.detail}); "
        f"{again}",
        Kind.KILLED_BY_COMMAND: f"somebody's {outcome.detail} killed the program; {again}",
        Kind.ENGINE_FAILED: f"the engine failed: {outcome.detail}; {again}",
    }[outcome.kind]


def _with_way_out(detail: str) -> str:
    return detail if _ALLOWED in detail else f"{detail}; or run it with {_ALLOWED}"
