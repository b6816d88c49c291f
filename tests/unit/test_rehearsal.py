"""The parts of a rehearsal that need no engine: the copy of a directory, comparing outputs, what checkpoints cost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.errors import UsageError
from dmtcp_py.rehearsal import scratch
from dmtcp_py.rehearsal.comparison import difference, different_files
from dmtcp_py.rehearsal.findings import Rehearsal, Trial
from dmtcp_py.rehearsal.lines import lines
from dmtcp_py.rehearsal.schedule import most_bytes_on_disk, upkeep
from dmtcp_py.rehearsal.scratch import make_copy, moved, survey

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with everything that a directory can have."""
    folder = tmp_path / "project"
    for name in ("input/deep", "empty", ".git", "env", "jobs"):
        (folder / name).mkdir(parents=True)
    for name in ("run", "input/deep/data", ".git/HEAD", "env/pyvenv.cfg", "jobs/image", "large.h5"):
        (folder / name).write_text(name)
    (folder / "run").chmod(0o755)
    (folder / "latest").symlink_to("input/deep")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_copy_is_like_the_directory_and_shares_nothing_that_is_written(project: Path) -> None:
    found = survey(project, links=[project / "large.h5"], but=project / "jobs")
    copy = make_copy(project, found, but=project / "jobs", fallback=project)
    assert copy.parent == project.parent
    names = {str(path.relative_to(copy)) for path in copy.rglob("*")}
    assert names == {
        *("run", "input", "input/deep", "input/deep/data", "latest", "empty", "pipe"),
        *(".git", "env", "large.h5"),
    }
    assert {name for name in (".git", "env", "large.h5", "latest") if (copy / name).is_symlink()} == {
        *(".git", "env", "large.h5", "latest")
    }
    assert os.readlink(copy / "latest") == "input/deep"
    assert (copy / "pipe").is_fifo()
    assert os.access(copy / "run", os.X_OK)
    (copy / "input/deep/data").write_text("changed")
    assert (project / "input/deep/data").read_text() == "input/deep/data"


def test_where_the_directory_above_cannot_be_written_the_copy_is_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback = tmp_path / "fallback"
    fallback.mkdir()
    found = survey(project, links=[], but=project / "jobs")
    make = scratch.tempfile.mkdtemp

    def refuse(prefix: str, dir: Path) -> str:  # noqa: A002 - the name of mkdtemp's
        if dir == project.parent:
            raise PermissionError
        return make(prefix=prefix, dir=dir)

    monkeypatch.setattr(scratch.tempfile, "mkdtemp", refuse)
    assert make_copy(project, found, but=project / "jobs", fallback=fallback).parent == fallback


def test_more_than_can_be_copied_is_refused_with_the_largest_part(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "large.h5").write_bytes(bytes(5000))
    monkeypatch.setattr(scratch, "MOST_BYTES", 4000)
    with pytest.raises(UsageError, match=r"--link large\.h5"):
        survey(project, links=[], but=project / "jobs")
    assert survey(project, links=[project / "large.h5"], but=project / "jobs").size < 100


def test_paths_in_the_directory_become_those_of_the_copy(tmp_path: Path) -> None:
    old, new = tmp_path / "a", tmp_path / "b"
    words = [f"{old}/run", f"--in={old}/x", str(old), f"{old}more/x", "x", f"say {old}"]
    assert moved(words, old, new) == (f"{new}/run", f"--in={new}/x", str(new), f"{old}more/x", "x", f"say {old}")


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        (b"1\n2\n3\n", b"1\n2\n", None),
        (b"", b"1", None),
        (b"1\n2\n3\n", b"1\n2\n4\n", 3),
        (b"1\n22\n", b"1\n21\n", 2),
        (b"x" * 9999 + b"a", b"x" * 9999 + b"b", 1),
    ],
)
def test_outputs_are_compared_as_far_as_both_have_come(one: bytes, other: bytes, line: int | None) -> None:
    found = difference(one, other)
    assert (found and found.line) == line


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "same").write_text("same")
        (tmp_path / name / "below/file").write_text(name)
    (tmp_path / "other/more").touch()
    assert different_files(tmp_path / "one", tmp_path / "other") == ["below/file", "more"]


def test_the_share_of_time_is_number_times_cost_by_the_day() -> None:
    cost = upkeep(10.0)
    assert cost.count == int(86400 // (cost.interval_s + 10))
    assert cost.share == pytest.approx(cost.count * 10 / 86400)
    assert most_bytes_on_disk(100, keep=2) == 300


@pytest.mark.parametrize(
    ("works", "said"),
    [(True, "not installed, and not needed"), (False, "not here: DMTCP is not installed; install it")],
)
def test_what_to_install_is_said_only_where_no_engine_works(works: bool, said: str) -> None:  # noqa: FBT001
    trial = Trial(engine="criu", version="4.2.1", problem=None if works else "it hangs")
    found = Rehearsal(
        command=("./simulate",),
        took_s=60,
        place="in a copy",
        trials=(trial,),
        absent={"dmtcp": "DMTCP is not installed; install it"},
        comparison=None,
        best=trial if works else None,
        line=None,
    )
    assert f"  dmtcp       {said}" in lines(found, None)
