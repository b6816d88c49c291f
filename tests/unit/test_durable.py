"""What has to be on the disk before a generation counts: files by their names of now, and for a bounded time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dmtcp_py.errors import StoreError
from dmtcp_py.rollback.durable import WrittenFiles
from dmtcp_py.rollback.parts import UNDONE


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the paths of what is synced, in order."""
    found: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: found.append(Path(os.readlink(f"/proc/self/fd/{fd}"))))
    return found


def _part(root: Path, number: int, *entries: tuple[str, str]) -> None:
    """Write part NUMBER of the journal with ENTRIES, each a kind and a path."""
    folder = root / f"{number:06}"
    folder.mkdir(parents=True)
    content = b""
    for kind, path in entries:
        size = len(path.partition("\n")[0]) if kind == "M" else 0
        entry = f"0\t0\t{kind}\t{size}\t0\t100644\t0\t0\t-\t{path}".encode()
        content += f"\0{len(entry):05x}\t".encode() + entry + b"\0"
    (folder / "list").write_bytes(content)


def _sync(root: Path, since: str | None, part: int, within_s: float = 60) -> None:
    WrittenFiles(os.getpid(), root, streams=(), since=since).sync(f"{part:06}", within_s=within_s)


def test_a_file_of_a_part_whose_checkpoint_failed_is_on_the_disk_with_the_next_one(
    tmp_path: Path, synced: list[Path]
) -> None:
    files = [tmp_path / name for name in ("committed", "failed", "since")]
    for number, file in enumerate(files, 3):
        file.write_text("content")
        _part(tmp_path / "undo", number, ("C", str(file)))
    _part(tmp_path / "undo", 6)
    _sync(tmp_path / "undo", "000004", 6)
    assert {files[1], files[2], tmp_path} <= {*synced}
    assert files[0] not in synced, "it was on the disk with the generation that began part 4"
    records = [tmp_path / "undo" / name for name in ("000004/list", "000005/list")]
    assert max(map(synced.index, records)) < min(map(synced.index, files[1:])), "first what is undone, then the change"


def test_the_first_checkpoint_of_a_computation_has_all_on_the_disk_and_what_was_put_back(
    tmp_path: Path, synced: list[Path]
) -> None:
    file, put_back = tmp_path / "file", tmp_path / "put-back"
    for one in (file, put_back):
        one.write_text("content")
    _part(tmp_path / "undo", 1, ("C", str(file)))
    _part(tmp_path / "undo", 2)
    (tmp_path / "undo" / UNDONE).write_bytes(os.fsencode(put_back) + b"\0")
    _sync(tmp_path / "undo", None, 2)
    assert {file, put_back} <= {*synced}


def test_a_file_in_a_folder_that_was_moved_is_on_the_disk_by_its_name_of_now(
    tmp_path: Path, synced: list[Path]
) -> None:
    was, now = tmp_path / "was", tmp_path / "now"
    now.mkdir()
    (now / "file").write_text("content")
    _part(tmp_path / "undo", 1, ("C", str(was / "file")), ("M", f"{was}\n{now}"))
    _part(tmp_path / "undo", 2)
    _sync(tmp_path / "undo", "000001", 2)
    assert {now / "file", now, tmp_path} <= {*synced}


def test_a_file_system_that_does_not_answer_is_named_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, file = threading.Event(), tmp_path / "file"
    file.write_text("content")
    monkeypatch.setattr(os, "fsync", lambda _fd: answers.wait(60))
    _part(tmp_path / "undo", 1, ("C", str(file)))
    _part(tmp_path / "undo", 2)
    with pytest.raises(StoreError, match="was not written to its disk within 0 s"):
        _sync(tmp_path / "undo", "000001", 2, within_s=0.2)
    answers.set()


def test_a_disk_that_refuses_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    _part(tmp_path / "undo", 1)
    _part(tmp_path / "undo", 2)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=r"000001/list cannot be written to its disk: Input/output error"):
        _sync(tmp_path / "undo", "000001", 2)
