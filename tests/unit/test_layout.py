"""Paths of jobs: which names may stand there, and what is taken for a generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtcp_py.errors import UsageError
from dmtcp_py.store.layout import job_layout, jobs_in, manifest_path

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

fast = settings(database=None, deadline=None, max_examples=300)


@pytest.mark.parametrize("name", ["count", "count-1f3a", "a", "_x", "7", "run.2+b=c@d", "x" * 128, "CON", "a..b"])
def test_plain_names_name_a_job(tmp_path: Path, name: str) -> None:
    assert job_layout(tmp_path, name).root == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../other",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a/../b",
        ".hidden",
        "-rf",
        "--fresh",
        "a b",
        "a\n",
        "\na",
        "a\0b",
        "a\\b",
        "~",
        "$(id)",
        "`id`",
        "a;b",
        "a*",
        "ä",
        "a\u202eb",
        "x" * 129,
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid job name") as refused:
        job_layout(tmp_path, name)
    assert refused.value.status == 2


@given(name=st.text(max_size=12) | st.text(alphabet="./-_ab\n", max_size=6))
@fast
def test_an_accepted_name_is_one_folder_below_the_directory(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp()
    try:
        layout = job_layout(directory, name)
    except UsageError:
        return
    assert layout.root.resolve().parent == directory.resolve()
    assert layout.name == name


def test_every_path_of_a_job_is_below_its_folder(layout: JobLayout) -> None:
    places = [layout.job, layout.lock, layout.state, layout.history, layout.stdin_copy, layout.requests]
    places += [layout.staging, layout.generation(7), layout.partial(7), manifest_path(layout.generation(7))]
    assert all(layout.root in place.parents for place in places)
    assert len(set(places)) == len(places)


def test_a_generation_has_six_digits_or_more(layout: JobLayout) -> None:
    assert layout.generation(7).name == "000007"
    assert layout.generation(1_234_567).name == "1234567"
    assert layout.partial(7).name == "000007.partial"


def test_generations_are_found_in_the_order_of_their_numbers(layout: JobLayout) -> None:
    for number in (10, 9, 1_000_000, 999_999):
        layout.generation(number).mkdir(parents=True)
    assert layout.generation_numbers() == [9, 10, 999_999, 1_000_000]


@pytest.mark.parametrize(
    "name", ["000001.partial", "7", "00001", "latest", "000001.old", "-00001", "0x0001", ".000001"]
)
def test_what_has_another_name_is_no_generation(layout: JobLayout, name: str) -> None:
    (layout.generations / name).mkdir(parents=True)
    assert layout.generation_numbers() == []


@pytest.mark.parametrize("name", ["0000001", "\u0661\u0661\u0661\u0661\u0661\u0661", "000000"])
def test_a_number_that_we_would_write_otherwise_is_no_generation(layout: JobLayout, name: str) -> None:
    (layout.generations / name).mkdir(parents=True)
    assert layout.generation_numbers() == []


def test_a_job_without_a_folder_has_no_generations(layout: JobLayout) -> None:
    assert layout.generation_numbers() == []
    assert layout.partials() == []


def test_what_was_left_half_done_is_found(layout: JobLayout) -> None:
    layout.partial(3).mkdir(parents=True)
    layout.generation(2).mkdir()
    assert layout.partials() == [layout.partial(3)]


def test_jobs_are_folders_with_a_record_and_a_name_of_ours(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden", "no record"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.json").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "README").touch()
    assert [layout.name for layout in jobs_in(tmp_path)] == ["a", "b"]


def test_a_directory_that_is_not_there_has_no_jobs(tmp_path: Path) -> None:
    assert list(jobs_in(tmp_path / "nowhere")) == []
