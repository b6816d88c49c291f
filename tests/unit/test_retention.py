"""Which generations may go: every rule by a case, and what must hold for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtcp_py.store.retention import Generation, plan

fast = settings(database=None, deadline=None, max_examples=500)
lineages = st.none() | st.integers(1, 3)
histories = st.dictionaries(st.integers(1, 12), lineages, max_size=8)


def kept(
    generations: dict[int, int | None], *, keep: int = 2, lineage: int = 1, proved: frozenset[int] = frozenset()
) -> list[int]:
    found = [Generation(number, of) for number, of in generations.items()]
    return [verdict.number for verdict in plan(found, keep=keep, lineage=lineage, proved=proved) if verdict.keep]


def test_the_newest_ones_stay() -> None:
    assert kept({1: 1, 2: 1, 3: 1, 4: 1}) == [4, 3]


def test_one_stays_whatever_is_asked_for() -> None:
    assert kept({1: 1, 2: 1}, keep=0) == [2]


def test_nothing_is_planned_for_nothing() -> None:
    assert kept({}) == []


def test_the_newest_that_came_up_at_a_restart_stays_too() -> None:
    assert kept({1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, proved=frozenset({1, 2})) == [5, 4, 2]


def test_older_proved_ones_go_when_a_newer_one_came_up() -> None:
    assert kept({1: 1, 4: 1, 5: 1}, proved=frozenset({1, 5})) == [5, 4]


def test_earlier_lineages_stay_until_the_new_one_has_its_first() -> None:
    assert kept({1: 1, 2: 1, 3: 1}, lineage=2) == [3, 2, 1]


def test_earlier_lineages_go_once_the_new_one_has_its_first() -> None:
    assert kept({1: 1, 2: 1, 3: 2}, lineage=2) == [3]


def test_a_proved_generation_of_an_earlier_lineage_is_no_reason_to_keep_it() -> None:
    assert kept({2: 1, 3: 2}, lineage=2, proved=frozenset({2})) == [3]


def test_a_damaged_one_stays_to_be_looked_at() -> None:
    assert kept({1: 1, 2: 1, 3: 1, 4: None}) == [4, 3, 2]


def test_a_damaged_one_does_not_take_the_place_of_one_that_can_be_used() -> None:
    assert kept({1: 1, 2: None, 3: 1}) == [3, 2, 1]


def test_a_damaged_one_goes_when_it_is_older_than_all_that_can_be_used() -> None:
    assert kept({1: None, 2: 1}) == [2]


def test_damaged_ones_all_stay_while_nothing_else_is_there() -> None:
    assert kept({1: None, 2: None, 3: None}, keep=1) == [3, 2, 1]


@pytest.mark.parametrize(
    ("generations", "number", "rule"),
    [
        ({1: 1, 2: 1, 3: 1}, 3, "newest 1 of 2"),
        ({1: 1, 2: 1, 3: 1}, 1, "older than the newest 2"),
        ({1: 2}, 1, "the newest lineage has no generation yet"),
        ({1: 2, 2: 1}, 1, "from lineage 2, and a newer lineage has a generation"),
        ({1: None}, 1, "damaged, kept for inspection"),
    ],
)
def test_each_verdict_names_its_rule(generations: dict[int, int | None], number: int, rule: str) -> None:
    found = plan([Generation(*pair) for pair in generations.items()], keep=2, lineage=1, proved=())
    assert {verdict.number: verdict.rule for verdict in found}[number] == rule


@given(
    generations=histories, keep=st.integers(-1, 4), lineage=st.integers(1, 3), proved=st.frozensets(st.integers(1, 12))
)
@fast
def test_the_newest_generation_of_the_newest_lineage_is_never_let_go(
    generations: dict[int, int | None], keep: int, lineage: int, proved: frozenset[int]
) -> None:
    left = kept(generations, keep=keep, lineage=lineage, proved=proved)
    mine = sorted((number for number, of in generations.items() if of == lineage), reverse=True)
    assert left == sorted(left, reverse=True)
    assert set(mine[: max(keep, 1)]) <= set(left)
    if not mine:
        assert set(left) == set(generations)


@given(
    generations=histories, keep=st.integers(1, 4), lineage=st.integers(1, 3), proved=st.frozensets(st.integers(1, 12))
)
@fast
def test_something_to_resume_from_is_always_left(
    generations: dict[int, int | None], keep: int, lineage: int, proved: frozenset[int]
) -> None:
    left = kept(generations, keep=keep, lineage=lineage, proved=proved)
    usable = {number for number, of in generations.items() if of is not None}
    assert bool(usable & set(left)) == bool(usable)


@given(
    generations=histories, keep=st.integers(1, 4), lineage=st.integers(1, 3), proved=st.frozensets(st.integers(1, 12))
)
@fast
def test_pruning_twice_lets_nothing_usable_go_that_pruning_once_kept(
    generations: dict[int, int | None], keep: int, lineage: int, proved: frozenset[int]
) -> None:
    once = kept(generations, keep=keep, lineage=lineage, proved=proved)
    again = kept({number: generations[number] for number in once}, keep=keep, lineage=lineage, proved=proved)
    usable = [number for number in once if generations[number] is not None]
    assert [number for number in again if generations[number] is not None] == usable
