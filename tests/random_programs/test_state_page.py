"""That the state page is what was measured, and how a cell is judged."""

from __future__ import annotations

from random_programs import counts, state_cells, state_page
from random_programs.campaign import Finding
from random_programs.kind import Kind, Text
from random_programs.life import Outcome, Result


def test_the_page_is_what_was_measured() -> None:
    wanted = state_page.text(state_cells.load(), counts.load())
    assert state_page.PAGE.read_text() == wanted, "write it anew: make state-page"


def test_a_refusal_is_quoted_without_process_and_advice() -> None:
    said = "checkpoint failed: process 12345 (program) has a wish, which DMTCP does not restore; --engine criu can"
    result = Result(Outcome.REFUSED, said)
    assert state_cells.judge(Kind("wish"), result) == ("refused", "has a wish, which DMTCP does not restore")


def test_a_checkpoint_that_ends_the_program_is_no_refusal() -> None:
    result = Result(Outcome.REFUSED, "checkpoint failed: the program or its coordinator died during the checkpoint")
    assert state_cells.judge(Kind("wish"), result)[0] == "fails"


def test_a_difference_is_harmless_only_where_the_kind_says_why() -> None:
    result = Result(Outcome.WRONG, "DIFFERS main: wish: it is 1, not 0", differing=frozenset({"wish"}))
    assert state_cells.judge(Kind("wish", Text(), harmless="it is only a wish"), result)[0] == "harmless"
    assert state_cells.judge(Kind("wish", Text()), result)[0] == "WRONG"


def test_a_program_counts_once_for_a_commit() -> None:
    rows: list[dict[str, object]] = []
    for seed, outcome in ((3, Outcome.RIGHT), (5, Outcome.STUCK), (4, Outcome.RIGHT), (4, Outcome.RIGHT)):
        rows = counts.added(rows, Finding(seed, "criu-4.2.1", Result(outcome, "nothing moves")), "abc")
    rows = counts.added(rows, Finding(3, "criu-4.2.1", Result(Outcome.RIGHT)), "def")
    assert [(row["seeds"], row["counts"]) for row in rows] == [
        ([[3, 5]], {"right": 2, "STUCK": 1}),
        ([[3, 3]], {"right": 1}),
    ]
    assert "- CRIU 4.2.1, abc, seed 5: STUCK: nothing moves" in counts.section(rows)
