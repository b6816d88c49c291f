"""How often a job was interrupted, as its history shows it."""

from __future__ import annotations

from typing import Any

import pytest

from dmtcp_py.attempt.interruptions import seen

LINEAGE = 2


def began(epoch: int, clock: str, *, lineage: int = LINEAGE, event: str = "resumed") -> dict[str, Any]:
    return {"event": event, "epoch": epoch, "lineage": lineage, "time": f"2026-03-01T{clock}:00Z"}


def ended(epoch: int, event: str, ran_s: float, **more: Any) -> dict[str, Any]:
    return {"event": event, "epoch": epoch, "ran_s": ran_s, "status": 85, **more}


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], (0.0, 0)),
        # stopped before the time limit: announced
        ([began(1, "10:00"), ended(1, "checkpointed", 600)], (600.0, 0)),
        ([began(1, "10:00"), ended(1, "finished", 600)], (600.0, 0)),
        ([began(1, "10:00"), ended(1, "signalled", 600)], (600.0, 1)),
        ([began(1, "10:00"), ended(1, "failed", 600, what="engine")], (600.0, 1)),
        # a checkpoint that failed ends nothing, and a committed one says how long the program has run
        ([began(1, "10:00"), {"event": "failed", "what": "checkpoint", "epoch": 1}], (0.0, 0)),
        (
            [began(1, "10:00"), {"event": "checkpointed", "epoch": 1, "size": 1, "ran_s": 60}, began(2, "11:00")],
            (60.0, 1),
        ),
        # a node that failed: the next attempt notes when it was last heard of
        (
            [
                began(1, "10:00"),
                {"event": "killed", "epoch": 2, "attempt": 1, "last_seen": "2026-03-01T10:20:00Z"},
                began(2, "11:00"),
                ended(2, "checkpointed", 300),
            ],
            (1500.0, 1),
        ),
        # an earlier lineage of the job is another program
        (
            [began(1, "10:00", lineage=1), ended(1, "signalled", 600), began(2, "11:00"), ended(2, "finished", 5)],
            (5, 0),
        ),
    ],
)
def test_what_came_without_notice_is_counted(history: list[dict[str, Any]], expected: tuple[float, int]) -> None:
    assert seen(history, LINEAGE) == expected
