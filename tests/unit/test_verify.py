"""Whether a generation is still what was committed: each way in which it may not be is found and named."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.attempt import verifying
from dmtcp_py.errors import NoSuchJobError, StoreError
from dmtcp_py.messages import Report
from dmtcp_py.report.step import step_of
from dmtcp_py.store.layout import manifest_path
from dmtcp_py.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

IMAGE, SAVED = "ckpt_count.dmtcp", "ckpt_count_files/log"


@pytest.fixture
def folder(store: Any, commit: Any, layout: JobLayout) -> Path:
    """Commit a generation and return its folder."""
    commit(store)
    return layout.generation(1)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_one_byte(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def append_one_byte(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def replace_by_symlink(path: Path) -> None:
    elsewhere = path.parent.parent / "same content"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (flip_a_bit, "does not have the content that was committed"),
    (cut_one_byte, "bytes instead of"),
    (append_one_byte, "bytes instead of"),
    (lambda path: os.truncate(path, 0), "has 0 bytes instead of"),
    (lambda path: path.unlink(), "cannot be read: No such file or directory"),
    (replace_by_symlink, "is not a regular file"),
    (replace_by_folder, "is not a regular file"),
    (replace_by_fifo, "is not a regular file"),
    (lambda path: path.chmod(0o660), "can be written by others (mode 660)"),
    (lambda path: path.chmod(0o602), "can be written by others (mode 602)"),
]


def test_what_was_committed_verifies(folder: Path, layout: JobLayout) -> None:
    assert folder.is_dir()
    assert verify(layout, 1).generation == 1


@pytest.mark.parametrize("name", [IMAGE, SAVED])
@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_damage_is_found_and_the_file_named(
    folder: Path, layout: JobLayout, name: str, damage: Callable[[Path], None], words: str
) -> None:
    damage(folder / name)
    with pytest.raises(StoreError) as found:
        verify(layout, 1)
    assert str(folder / name) in found.value.what
    assert words in found.value.what
    assert "generations/000001" in found.value.what


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(folder: Path, layout: JobLayout) -> None:
    os.chown(folder / IMAGE, 12345, -1)
    with pytest.raises(StoreError, match="belongs to user 12345, and restoring would run it as user 0"):
        verify(layout, 1)


def test_a_file_behind_a_symlink_is_refused(folder: Path, layout: JobLayout) -> None:
    saved = folder / "ckpt_count_files"
    saved.rename(folder.parent / "elsewhere")
    saved.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(StoreError, match="is reached through a symlink"):
        verify(layout, 1)


def test_a_file_that_cannot_be_opened_is_named(
    folder: Path, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _on_read: object) -> str:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("dmtcp_py.store.verify.hash_file", refuse)
    with pytest.raises(StoreError, match=f"{IMAGE} cannot be read: Input/output error"):
        verify(layout, 1)
    assert folder.is_dir()


def test_a_file_that_the_manifest_does_not_list_is_no_damage(folder: Path, layout: JobLayout) -> None:
    (folder / "notes").touch()
    assert verify(layout, 1).generation == 1


def test_the_first_damaged_file_is_the_one_that_is_named(folder: Path, layout: JobLayout) -> None:
    for name in (IMAGE, SAVED):
        flip_a_bit(folder / name)
    with pytest.raises(StoreError, match=IMAGE):
        verify(layout, 1)


class TestManifest:
    """The list against which files are verified."""

    def test_one_that_is_missing_is_named(self, folder: Path, layout: JobLayout) -> None:
        manifest_path(folder).unlink()
        with pytest.raises(StoreError, match=r"manifest\.json is missing"):
            verify(layout, 1)

    def test_one_of_another_generation_is_refused(self, folder: Path, layout: JobLayout) -> None:
        folder.rename(layout.generation(2))
        with pytest.raises(StoreError, match="belongs to generation 1"):
            verify(layout, 2)

    def test_a_generation_that_is_not_there_is_another_matter(self, folder: Path, layout: JobLayout) -> None:
        with pytest.raises(NoSuchJobError) as missing:
            verify(layout, 7)
        assert missing.value.status == 10
        assert "[1]" in missing.value.hint
        assert folder.is_dir()

    def test_a_file_in_the_place_of_a_generation_is_refused(self, folder: Path, layout: JobLayout) -> None:
        assert folder.is_dir()
        layout.generation(2).touch()
        with pytest.raises(StoreError):
            verify(layout, 2)

    @pytest.mark.parametrize("mode", [0o620, 0o602])
    def test_one_that_others_can_write_is_refused(self, folder: Path, layout: JobLayout, mode: int) -> None:
        manifest_path(folder).chmod(mode)
        with pytest.raises(StoreError, match="can be written by others"):
            verify(layout, 1)

    @pytest.mark.parametrize("mode", [0o720, 0o702])
    def test_a_folder_that_others_can_write_is_refused(self, folder: Path, layout: JobLayout, mode: int) -> None:
        folder.chmod(mode)
        with pytest.raises(StoreError, match="can be written by others"):
            verify(layout, 1)

    def test_a_name_outside_is_never_looked_at(self, folder: Path, layout: JobLayout) -> None:
        values = json.loads(manifest_path(folder).read_text())
        values["images"][0]["name"] = values["restart_images"][0] = "../../../../../../etc/passwd"
        manifest_path(folder).write_text(json.dumps(values))
        with pytest.raises(StoreError, match="names a file outside its generation"):
            verify(layout, 1)


def test_how_much_is_verified_can_be_seen_meanwhile(
    folder: Path, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.is_dir()
    monkeypatch.setattr(verifying, "_NOTED_EVERY_S", 0.0)
    seen = []
    with verifying.shown(Report(), layout, 1) as on_read:

        def look(count: int) -> None:
            on_read(count)
            seen.append(str(step_of(layout, 1, 1)))

        verify(layout, 1, look)
    assert seen[0].startswith("verifying ")
    assert seen[-1] == "verifying 99%"  # 100 % is only said of what is over
    assert step_of(layout, 1, 1) is None
    assert not layout.verifying.exists()
