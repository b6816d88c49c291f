"""Which files a command line names, and which of them changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmtcp_py.attempt.named_files import changed, named_files, notes_on_changed
from dmtcp_py.store.records import path_text

PROGRAM = Path("/bin/sh")


def _names(folder: Path, *words: str) -> dict[str, bool]:
    found = named_files(PROGRAM, ("sh", *words), folder)
    return {Path(file.path).name: file.is_code for file in found if Path(file.path) != PROGRAM}


def test_the_first_script_is_code_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("run.py", "other.py", "in.cfg"):
        (tmp_path / name).write_text("1\n")
    found = _names(tmp_path, "-u", "run.py", "other.py", "--config=in.cfg", "missing")
    assert found == {"run.py": True, "other.py": False, "in.cfg": False}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("run.py", "import os\nfrom model import step\n"),
        ("run.R", 'source("model.py")\n'),
        ("run.sh", ". ./model.py\n"),
    ],
)
def test_what_a_script_imports_from_its_folder_is_code_too(tmp_path: Path, script: str, text: str) -> None:
    (tmp_path / script).write_text(text)
    (tmp_path / "model.py").write_text("import tools\nplot = 1\n")
    for name in ("tools.py", "plot.py", "os.txt"):
        (tmp_path / name).write_text("import run\n")
    assert _names(tmp_path, script) == {script: True, "model.py": True, "tools.py": True}


@pytest.mark.parametrize("word", ["pipe", "folder", "", "\0", "x" * 5000, "/dev/zero", "/proc/self/mem"])
def test_words_that_are_no_files_are_left_out_without_a_wait(tmp_path: Path, word: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert set(_names(tmp_path, word)) <= {"mem"}


def test_a_file_with_the_same_content_has_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "in.cfg"
    path.write_text("steps = 1\n")
    files = named_files(PROGRAM, ("sh", "in.cfg"), tmp_path)
    path.unlink()
    path.write_text("steps = 1\n")
    assert changed(files) == []
    path.write_text("steps = 2\n")
    assert changed(files) == [path_text(path)]
    path.unlink()
    assert changed(files) == []


def test_what_changed_before_the_checkpoint_may_be_the_programs_own_work_unless_it_is_code(tmp_path: Path) -> None:
    for name in ("run.py", "data.out"):
        (tmp_path / name).write_text("1\n")
    files = named_files(PROGRAM, ("sh", "run.py", "data.out"), tmp_path)
    for name in ("run.py", "data.out"):
        (tmp_path / name).write_text("2\n")
    before = changed(files)
    assert len(before) == 2
    notes = notes_on_changed(files, before)
    assert len(notes) == 1
    assert notes[0].startswith(f"{tmp_path / 'run.py'} has changed since the job started, and the resumed program is")
    assert len(notes_on_changed(files, [])) == 2
