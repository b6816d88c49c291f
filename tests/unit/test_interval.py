"""How often to checkpoint: published formulas against published values."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dmtcp_py.attempt.interval import (
    ASSUMED_MTTI_S,
    FIRST_S,
    LONGEST_S,
    SHORTEST_S,
    Auto,
    auto_s,
    daly_s,
    first_s,
    guessed_cost_s,
    is_worth_it,
    lead_s,
    mtti_s,
    next_s,
    young_s,
)

MINUTE, HOUR = 60.0, 3600.0
fast = settings(database=None, deadline=None, max_examples=200)


@pytest.mark.parametrize(("mtti_s", "minutes"), [(24 * HOUR, 116.69), (6 * HOUR, 56.71), (15 * MINUTE, 9.14)])
def test_dalys_interval_is_that_of_his_figures_3_to_5(mtti_s: float, minutes: float) -> None:
    assert daly_s(5 * MINUTE, mtti_s) / MINUTE == pytest.approx(minutes, abs=0.005)


def test_youngs_interval_is_the_root_of_twice_cost_times_mtti() -> None:
    assert young_s(5 * MINUTE, 24 * HOUR) == 7200.0


@pytest.mark.parametrize("cost_s", [2 * HOUR, 3 * HOUR])
def test_a_checkpoint_that_costs_more_than_twice_the_mtti_is_taken_once_in_it(cost_s: float) -> None:
    assert daly_s(cost_s, HOUR) == HOUR


@given(ratio=st.floats(0.0001, 0.5), mtti_s=st.floats(60, 1e7))
@fast
def test_dalys_interval_costs_hardly_more_than_the_exact_optimum(ratio: float, mtti_s: float) -> None:
    cost_s = ratio * mtti_s

    def time_per_work(interval_s: float) -> float:
        # Daly's complete model without the restart, which does not depend on the interval: M (e^((t+d)/M) - 1) / t
        return mtti_s * math.expm1((interval_s + cost_s) / mtti_s) / interval_s

    optimum_s = _exact_s(cost_s, mtti_s)
    assert time_per_work(daly_s(cost_s, mtti_s)) <= time_per_work(optimum_s) * (1 + 2e-5)


def _exact_s(cost_s: float, mtti_s: float) -> float:
    """Return M (1 + W0(-e^(-d/M - 1))): the root of (1 - t/M) e^(t/M) = e^(-d/M), found by halving."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if (1 - middle) * math.exp(middle) > math.exp(-cost_s / mtti_s):
            low = middle
        else:
            high = middle
    return mtti_s * high


@given(first=st.floats(0.001, 1e5), second=st.floats(0.001, 1e5), mtti_s=st.floats(60, 1e7))
@fast
def test_what_costs_more_is_taken_less_often(first: float, second: float, mtti_s: float) -> None:
    assume(first <= second < mtti_s / 2)
    assert daly_s(first, mtti_s) <= daly_s(second, mtti_s) * (1 + 1e-12)


def test_auto_takes_the_first_checkpoint_after_a_minute() -> None:
    assert auto_s(None) == FIRST_S == 60.0


@given(st.floats(0, 1e9))
@fast
def test_auto_stays_between_a_minute_and_an_hour_unless_checkpoints_took_too_much_of_the_time(cost_s: float) -> None:
    assert SHORTEST_S <= auto_s(cost_s) <= max(LONGEST_S, 49 * cost_s * (1 + 1e-9))


@given(st.floats(0, 1e5), st.floats(60, 1e7), st.floats(0.001, 0.5))
@fast
def test_checkpoints_take_no_more_than_the_largest_share(cost_s: float, mtti_s: float, share: float) -> None:
    interval_s = auto_s(cost_s, Auto(mtti_s=mtti_s, most_overhead=share))
    assert cost_s <= (interval_s + cost_s) * share * (1 + 1e-9) or interval_s == SHORTEST_S


def test_a_job_that_is_interrupted_more_often_is_checkpointed_more_often() -> None:
    day = 24 * HOUR
    assert mtti_s(0, 0) == day
    assert mtti_s(day, 1) == day
    assert mtti_s(day, 11) == day / 6
    # a month without any is worth more than the assumption
    assert mtti_s(30 * day, 0) == 31 * day
    assert auto_s(1, Auto(mtti_s=mtti_s(day, 11))) < auto_s(1) < auto_s(1, Auto(mtti_s=mtti_s(30 * day, 0)))


def test_auto_is_dalys_interval_for_one_interruption_a_day() -> None:
    assert auto_s(1.0) == daly_s(1.0, ASSUMED_MTTI_S) == pytest.approx(415, abs=1)


@pytest.mark.parametrize(
    ("cost_s", "limit_s", "expected_s"),
    [
        # a small program in two minutes: 20 s spare, three checkpoints
        (0.8, 120, 22.4),
        # an hour: two per cent spare; a day and more: two minutes
        (1.0, 3600, 75),
        (10.0, 86400, 150),
        (10.0, 7 * 86400, 150),
        # a slow image: half of the time is for computing all the same
        (60.0, 120, 60),
        (1e6, 3600, 1800),
        (0.0, 0, 0),
    ],
)
def test_the_lead_has_room_for_three_checkpoints_and_some(cost_s: float, limit_s: float, expected_s: float) -> None:
    assert lead_s(cost_s, limit_s) == pytest.approx(expected_s)


@fast
@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1, 1e7))
def test_a_dearer_checkpoint_never_has_a_shorter_lead(cost_s: float, more_s: float, limit_s: float) -> None:
    assert lead_s(cost_s + more_s, limit_s) >= lead_s(cost_s, limit_s)
    assert lead_s(cost_s, limit_s) <= limit_s / 2


def test_where_a_limit_is_near_the_first_checkpoint_comes_early_enough_to_learn_from() -> None:
    assert first_s(None) == FIRST_S
    assert first_s(12 * 3600) == FIRST_S
    assert first_s(60) == 15
    assert first_s(-5) == 0


def test_only_auto_depends_on_what_a_checkpoint_costs() -> None:
    assert [next_s(asked_s, 30, 60, Auto()) for asked_s in (None, 0, 600)] == [None, 0, 600]
    assert next_s(-1, 30, 60, Auto(mtti_s=HOUR)) == auto_s(30, Auto(mtti_s=HOUR))
    assert next_s(-1, None, 60, Auto()) == first_s(60)


def test_a_guess_is_dearer_than_what_is_measured() -> None:
    # 1 GB took 3.3 s on a fast disk
    assert guessed_cost_s(10**9) == 25


def test_a_limit_that_leaves_less_than_twice_the_lead_is_not_worth_it() -> None:
    assert not is_worth_it(22, 60)
    assert is_worth_it(22, 120)
