"""The copies of the user's programs: which are made, what they may cost, and which are trusted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.rollback import held_files, kept_code
from dmtcp_py.rollback.held_files import HeldFiles
from dmtcp_py.rollback.inputs import Found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MIB = 1 << 20


def _code(folder: Path, name: str, content: bytes = b"code") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _images(folder: Path, *code: Path) -> Path:
    """Return a folder of images whose program runs CODE."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    found = Found()
    for path in code:
        found.add(str(path), str(path), is_mapped=True, is_executed=True)
    held_files.write(images, HeldFiles(files=[], inputs=found.but([])))
    return images


def _keep(images: Path, folder: Path, *, spare_bytes: int = 0) -> list[str]:
    """Keep what the program of IMAGES runs from FOLDER; return the names of the copies."""
    kept_code.keep(images, folder / "programs", [folder], spare_bytes=spare_bytes)
    return sorted(path.name for path in (folder / "programs").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name", ["env/lib/libmkl.so", "venv/lib/python3/site-packages/numpy/core.so", "node_modules/fast/fast.node"]
)
def test_what_was_installed_into_an_environment_is_not_copied(tmp_path: Path, name: str) -> None:
    (tmp_path / "env" / "conda-meta").mkdir(parents=True)
    images = _images(tmp_path, _code(tmp_path, "sim"), _code(tmp_path, name))
    assert _keep(images, tmp_path) == ["sim"]


def test_copies_have_a_bound_and_the_small_ones_come_first(tmp_path: Path) -> None:
    large = _code(tmp_path, "liblarge.so")
    os.truncate(large, 200 * _MIB)
    other = _code(tmp_path, "libother.so")
    os.truncate(other, 201 * _MIB)
    images = _images(tmp_path, other, large, _code(tmp_path, "sim"))
    assert _keep(images, tmp_path) == ["liblarge.so", "sim"]
    before = {path: path.stat().st_ino for path in (tmp_path / "programs").rglob("*")}
    assert _keep(images, tmp_path) == ["liblarge.so", "sim"]
    assert before == {path: path.stat().st_ino for path in (tmp_path / "programs").rglob("*")}


def test_no_copy_is_made_of_the_room_for_the_next_images(tmp_path: Path) -> None:
    images = _images(tmp_path, _code(tmp_path, "sim"))
    found = os.statvfs(tmp_path)
    assert _keep(images, tmp_path, spare_bytes=found.f_bavail * found.f_frsize) == []
    assert _keep(images, tmp_path) == ["sim"]


def test_a_copy_that_cannot_be_completed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_disk(_source: str, target: Path) -> None:
        target.write_bytes(b"co")
        raise OSError(28, "No space left on device")

    images = _images(tmp_path, _code(tmp_path, "sim"))
    monkeypatch.setattr("shutil.copyfile", fill_disk)
    assert _keep(images, tmp_path) == []
    assert list((tmp_path / "programs").iterdir()) == []


def test_a_copy_that_is_still_run_is_kept_wherever_the_job_is(tmp_path: Path) -> None:
    sim = _code(tmp_path / "work", "sim", b"old")
    kept = tmp_path / "job" / "programs"
    kept_code.keep(_images(tmp_path, sim), kept, [tmp_path / "work"], spare_bytes=0)
    (copy,) = kept.rglob("sim")
    large = _code(tmp_path / "work", "liblarge.so")
    os.truncate(large, 256 * _MIB)
    kept_code.keep(_images(tmp_path, copy, large), kept, [tmp_path / "work"], spare_bytes=0)
    assert copy.exists()


def _damaged(copy: Path) -> None:
    copy.write_bytes(b"evil")


def _linked(copy: Path) -> None:
    copy.rename(copy.parent.parent.parent / "elsewhere")
    copy.symlink_to(copy.parent.parent.parent / "elsewhere")


def _writable(copy: Path) -> None:
    copy.chmod(0o722)


def _of_another(copy: Path) -> None:
    os.chown(copy, 65534, 65534)


@pytest.mark.parametrize("change", [_damaged, _linked, _writable, _of_another])
def test_a_copy_that_others_may_have_put_there_is_not_used(tmp_path: Path, change: Callable[[Path], None]) -> None:
    if change is _of_another and os.geteuid():
        pytest.skip("only root can hand files over")
    sim = _code(tmp_path, "sim", b"old.")
    images = _images(tmp_path, sim)
    _keep(images, tmp_path)
    (copy,) = (tmp_path / "programs").rglob("sim")
    sim.write_bytes(b"new.")
    os.utime(sim, (1, 1))
    assert kept_code.copies(images, tmp_path / "programs") == {str(sim): copy}
    change(copy)
    assert kept_code.copies(images, tmp_path / "programs") == {}
