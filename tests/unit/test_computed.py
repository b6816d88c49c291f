"""How long a program has computed, from the lines of its history."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from dmtcp_py.report.computed import Computed
from dmtcp_py.report.computed import computed as computed_in
from dmtcp_py.report.lives import lives_of
from dmtcp_py.system.units import short_duration


def line(second: int, event: str, **values: Any) -> dict[str, Any]:
    return {"time": f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z", "event": event, "lineage": 1, **values}


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, second // 60, second % 60, tzinfo=timezone.utc)


def generation(second: int, number: int, ran_s: float) -> dict[str, Any]:
    return line(second, "checkpointed", generation=number, ran_s=ran_s, size=10)


def computed(history: list[dict[str, Any]], lineage: int, now: datetime | None) -> Computed:
    return computed_in(lives_of(history, lineage, now=now))


STARTED = [line(0, "started"), generation(10, 1, 10.0), generation(20, 2, 20.0)]


def test_a_running_program_has_computed_since_its_start() -> None:
    found = computed(STARTED, 1, at(25))
    assert (found.total_s, found.saved_s, found.last_checkpoint) == (25.0, 20.0, at(20))


def test_what_a_crash_took_does_not_count() -> None:
    assert computed(STARTED, 1, None).total_s == 20.0
    resumed = [*STARTED, line(100, "resumed", generation=2), generation(130, 3, 30.0)]
    assert computed(resumed, 1, at(140)).total_s == 60.0
    assert computed(resumed, 1, None).saved_s == 50.0


def test_an_older_generation_that_was_resumed_counts_as_what_it_had() -> None:
    assert computed([*STARTED, line(100, "resumed", generation=1)], 1, at(105)).total_s == 15.0


def test_the_end_of_an_attempt_is_no_generation() -> None:
    ended = [*STARTED, line(21, "checkpointed", generation=2, status=85)]
    assert computed(ended, 1, None).last_checkpoint == at(20)
    assert computed([*STARTED, line(30, "finished", status=0)], 1, None).total_s == 30.0


def test_another_lineage_begins_at_nothing() -> None:
    assert computed([*STARTED, {**line(50, "started"), "lineage": 2}], 2, at(53)).total_s == 3.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (12 * 86400 + 14400, "12d04h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text
