"""Durations and sizes as people write and read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtcp_py.errors import UsageError
from dmtcp_py.system.units import format_duration, format_size, parse_duration

fast = settings(database=None, deadline=None, max_examples=200)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("15m", 900),
        ("15min", 900),
        ("15 min", 900),
        ("15M", 900),
        ("2h", 7200),
        ("0.5h", 1800),
        ("1d", 86400),
        (" 90 ", 90),
    ],
)
def test_a_number_is_seconds_unless_a_unit_says_otherwise(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10:30", 630),
        ("1:00:00", 3600),
        ("01:02:03", 3723),
        ("100:00:00", 360000),
        ("1-00", 86400),
        ("1-02", 93600),
        ("1-02:30", 95400),
        ("1-02:30:04", 95404),
        ("0-00:00:01", 1),
    ],
)
def test_colons_and_dashes_mean_what_they_mean_to_sbatch(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-5",
        "10parsecs",
        "5 m s",
        "1e3",
        "nan",
        "inf",
        "auto",
        ":30",
        "1:",
        "1:2:3:4",
        "1-",
        "-1-02",
        "1.5:30",
        "0x10",
    ],
)
def test_what_is_no_duration_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_duration(text)
    assert refused.value.status == 2
    assert f"'{text}'" in refused.value.what
    assert "D-HH" in refused.value.hint


@pytest.mark.parametrize("text", ["999999999999", "9" * 400, "9" * 400 + "d", "9" * 400 + "-00"])
def test_a_duration_that_no_clock_can_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.text(alphabet="0123456789.:-smhd in", max_size=12))
@fast
def test_any_text_is_a_finite_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return
    assert seconds >= 0
    assert math.isfinite(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.42, "0.4s"),
        (9.5, "9.5s"),
        (9.99, "10s"),
        (45, "45s"),
        (119, "119s"),
        (120, "2:00"),
        (3599.6, "1:00:00"),
        (5400, "1:30:00"),
        (93784, "1-02:03:04"),
    ],
)
def test_a_duration_is_shown_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e8))
@fast
def test_what_is_shown_can_be_typed_again(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.51 if seconds >= 9.5 else 0.06)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 Bytes"), (999, "999 Bytes"), (31_200_000, "31.2 MB"), (10**9, "1.0 GB")]
)
def test_sizes_count_in_thousands(size: int, text: str) -> None:
    assert format_size(size) == text
