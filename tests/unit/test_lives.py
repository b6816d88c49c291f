"""What a program computed, lost and waited for, from the lines of its history."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.report.events import end_text
from dmtcp_py.report.lives import lives_of, newest_of
from dmtcp_py.report.options import option_texts
from dmtcp_py.report.spans import Use, spans_of, sums, waits_of
from dmtcp_py.store.history import read_history
from dmtcp_py.store.layout import JobLayout
from kit.past import BEGIN, Past, three_days

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.report.lives import Life

HOUR_S = 3600.0


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """Return a job to which nothing has happened yet."""
    return Past(tmp_path / "job")


def lives(past: Past, *, runs: bool = False) -> tuple[Life, ...]:
    """Return the lives of the program that PAST leaves, and write it as dmtcp-run would."""
    past.write("running")
    return lives_of(read_history(JobLayout(past.folder)), 1, now=past.at if runs else None)


def kept_and_lost(found: tuple[Life, ...]) -> list[tuple[float, float]]:
    return [(round(life.kept_s, 3), round(life.lost_s, 3)) for life in found]


def test_what_was_computed_after_the_resumed_generation_is_lost(past: Past) -> None:
    past.starts().computes(100, pause_s=2).computes(100, pause_s=2).computes(30).ends("signalled", status=143)
    past.passes(5).resumes().computes(50)
    assert kept_and_lost(lives(past, runs=True)) == [(200, 30), (50, 0)]


def test_a_stop_loses_nothing(past: Past) -> None:
    past.starts().computes(100, pause_s=2, program_stopped=True).passes(3).ends("checkpointed", status=85)
    assert kept_and_lost(lives(past)) == [(100, 0)]


def test_without_a_generation_all_is_lost(past: Past) -> None:
    past.starts().computes(100).ends("signalled", status=137)
    past.starts().computes(10).ends("finished")
    assert kept_and_lost(lives(past)) == [(0, 100), (10, 0)]


def test_an_older_generation_that_is_resumed_loses_what_came_after_it(past: Past) -> None:
    past.starts().computes(100, pause_s=2).computes(100, pause_s=2).ends("signalled", status=143)
    past.resumes().computes(40, pause_s=2).ends("signalled", status=143)
    past.resumes(1).computes(70)
    found = lives(past, runs=True)
    assert kept_and_lost(found) == [(100, 100), (0, 40), (70, 0)]
    assert found[-1].base_s == 100


def test_a_killed_attempt_ends_with_its_last_heartbeat(past: Past) -> None:
    past.starts().computes(100, pause_s=2).computes(60)
    seen = past.at
    past.passes(HOUR_S).attempt += 1
    past.happens("killed", attempt=1, last_seen=seen).attempt -= 1
    past.resumes().computes(10)
    found = lives(past, runs=True)
    assert kept_and_lost(found) == [(100, 60), (10, 0)]
    assert sums(spans_of(found))[Use.IDLE] == HOUR_S


def test_one_that_nobody_took_over_yet_ends_so_too(past: Past) -> None:
    past.starts().computes(100, pause_s=2).write("running")
    history = read_history(JobLayout(past.folder))
    (life,) = lives_of(history, 1, last_seen=past.at + timedelta(seconds=40))
    assert (life.kept_s, life.lost_s, life.is_running) == (100, 40, False)


def test_an_engine_that_lost_the_program_ends_a_life_within_an_attempt(past: Past) -> None:
    past.starts().computes(100, pause_s=2).computes(30)
    past.happens("failed", what="engine", error="gone", ran_s=132.0)
    past.passes(1).resumes(is_same_attempt=True, took_s=4).computes(20).ends("finished")
    found = lives(past)
    assert kept_and_lost(found) == [(100, 30), (20, 0)]
    assert sums(spans_of(found))[Use.STARTS] == 1 + 5
    assert [line["error"] for life in found for line in life.troubles] == ["gone"]


def test_an_attempt_that_waits_for_its_gate_does_not_run(past: Past) -> None:
    past.starts().computes(100, pause_s=2, program_stopped=True, reason="gate")
    past.passes(600).resumes(is_same_attempt=True).computes(20).ends("finished")
    found = lives(past)
    assert kept_and_lost(found) == [(100, 0), (20, 0)]
    assert sums(spans_of(found))[Use.IDLE] == 600
    assert [end_text(life) for life in found] == ["checkpointed and stopped (gate)", "finished with status 0"]


def test_checkpoints_that_failed_since_the_last_one_are_known(past: Past) -> None:
    past.starts().happens("failed", what="checkpoint", error="before").computes(100, pause_s=2)
    past.happens("failed", what="checkpoint", error="after")
    (life,) = lives(past, runs=True)
    assert [line["error"] for line in life.failed] == ["after"]
    assert [line["error"] for line in life.troubles] == ["before", "after"]


def test_a_history_of_an_older_release_tells_what_it_can(past: Past) -> None:
    past.starts().computes(100, pause_s=2).computes(30).ends("signalled", status=143)
    past.passes(60).resumes().computes(10)
    new = ("took_s", "submitted", "options")
    past.lines = [{name: value for name, value in line.items() if name not in new} for line in past.lines]
    del past.lines[-2]["ran_s"]
    found = lives(past, runs=True)
    assert kept_and_lost(found) == [(100, 30), (10, 0)]
    assert newest_of(found) == found[0].checkpoints[0]


@pytest.mark.parametrize(
    ("what", "submitted_s", "queue_s", "idle_s"),
    [("requeue", None, 500, 0), ("nothing: cancelled", None, 0, 500), ("nothing: cancelled", 200, 300, 200)],
    ids=["requeued", "not requeued", "submitted later"],
)
def test_a_wait_is_one_in_the_queue_if_the_scheduler_says_so(
    past: Past, what: str, submitted_s: int | None, queue_s: float, idle_s: float
) -> None:
    past.starts().computes(100, pause_s=2, program_stopped=True).ends("checkpointed", status=85)
    past.happens("follows", what=what, why="", next_job=None)
    submitted = None if submitted_s is None else past.at + timedelta(seconds=submitted_s)
    past.passes(500).resumes(submitted=submitted).computes(1)
    found = sums(spans_of(lives(past, runs=True)))
    assert (found[Use.QUEUE], found[Use.IDLE]) == (queue_s, idle_s)


def test_every_second_of_three_days_went_into_something(tmp_path: Path) -> None:
    past = three_days(tmp_path / "job")
    found = lives(past, runs=True)
    spans = spans_of(found)
    assert all(one.end == other.begin for one, other in pairwise(spans))
    assert spans[0].begin == BEGIN
    assert spans[-1].end == past.at
    parts = sums(spans)
    assert parts[Use.COMPUTED] == pytest.approx(sum(life.kept_s for life in found))
    assert parts[Use.LOST] == pytest.approx(sum(life.lost_s for life in found)) == 1500 + 700 + 60
    assert parts[Use.CHECKPOINTS] == pytest.approx(sum(life.pauses_s for life in found))
    waits = sums(waits_of(found))
    assert {use: waits[use] for use in (Use.STARTS, Use.QUEUE, Use.IDLE)} == {
        use: parts[use] for use in (Use.STARTS, Use.QUEUE, Use.IDLE)
    }


def test_options_are_as_they_are_typed() -> None:
    options = {"interval_s": 900.0, "keep": 3, "stdout": "out.txt", "allow_unprotected": True, "lead_s": 45.0}
    typed = {"--interval": "15:00", "--keep": "3", "--stdout": "out.txt", "--allow-unprotected": "", "--lead": "45s"}
    assert option_texts(options) == typed
    assert option_texts({"interval_s": -1.0}) == {"--interval": "auto"}
    assert option_texts({"interval_s": None}) == {"--interval": "0"}
