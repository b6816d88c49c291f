"""The record of what a job has written: what is in it, and what of it a resume compares."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.rollback import held_files, list_lines, parts, recording, written_files
from dmtcp_py.rollback.durable import WrittenFiles
from dmtcp_py.rollback.held_files import HeldFiles
from dmtcp_py.store.records import Cost, Host, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Job:
    """A job whose program is this test: what it does to files stands in the journal as it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.root = folder / "job" / "undo"
        self.root.parent.mkdir()
        recording.begin(self.root)

    def record(self, kind: str, *names: str) -> None:
        """Record an entry of KIND for NAMES."""
        part, first = os.readlink(self.root / parts.NOW), str(self.folder / names[0])
        path = "\n".join(str(self.folder / name) for name in names)
        entry = f"0\t0\t{kind}\t{len(first)}\t0\t100644\t0\t0\t-\t{path}"
        list_lines.append(self.root / part, [os.fsencode(entry)])

    def write(self, name: str, text: str = "text") -> Path:
        """Write file NAME, and record that."""
        self.record("C", name)
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def checkpoint(self, *, lineage: int = 1, is_remembered: bool = True) -> Manifest:
        """Begin a part, and commit the generation that began it."""
        written = WrittenFiles(os.getpid(), self.root, streams=(), since=None)
        written.open.clear()  # those of pytest
        part = recording.make_ready(self.root)
        parts.begin_next(self.root)
        host = Host(name="here", kernel="", machine="", libc="")
        manifest = Manifest(
            generation=int(part),
            lineage=lineage,
            epoch=1,
            created=datetime.now(timezone.utc),
            reason="test",
            program_stopped=False,
            engine="none",
            engine_version="0",
            images=[],
            restart_images=[],
            processes=1,
            host=host,
            cost=Cost(checkpoint_s=0),
            undo_part=part,
        )
        if is_remembered:
            written_files.remember(self.root, manifest, self.root.parent, written)
        return manifest

    def resume(self, manifest: Manifest, undone: Iterable[Path] = (), *, is_recorded: bool = True) -> list[str]:
        """Return what a resume from MANIFEST says, which puts back what is UNDONE."""
        said: list[str] = []
        images = self.root.parent
        written_files.set_back(self.root, manifest, images, {*undone}, is_recorded=is_recorded)
        written_files.compare(self.root, manifest, images, said.append)
        return said

    def names(self, lineage: int = 1) -> list[str]:
        """Return the names of what is remembered of LINEAGE."""
        return [os.path.relpath(path, self.folder) for path in written_files.names(self.root, lineage)]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    made = Job(tmp_path)
    monkeypatch.chdir(made.folder)
    return made


def test_what_was_written_before_an_earlier_generation_is_remembered_and_named_once(job: Job) -> None:
    for name in ("first", "second", "na\udcffme"):
        job.write(name)
    job.checkpoint()
    job.write("third")
    manifest = job.checkpoint()
    assert job.names() == ["first", "second", "na\udcffme", "third"]
    assert job.resume(manifest) == []
    (job.folder / "first").write_text("another text")
    (job.folder / "na\udcffme").unlink()
    text = "first changed after the checkpoint, na\udcffme is gone; the program goes on with them as they are"
    assert job.resume(manifest) == [text]
    assert job.resume(manifest) == []
    assert job.names() == ["first", "second", "third"]


def test_a_long_list_is_cut(job: Job) -> None:
    for number in range(5):
        job.write(f"{number}").unlink()
        job.write(f"kept-{number}")
    manifest = job.checkpoint()
    for number in range(5):
        (job.folder / f"kept-{number}").unlink()
    text = "kept-0, kept-1, kept-2 and 2 more are gone; the program goes on with them as they are"
    assert job.resume(manifest) == [text]


def test_only_the_newest_are_remembered(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "MOST", 3)
    for number in range(5):
        job.write(f"{number}")
    job.checkpoint()
    assert job.names() == ["2", "3", "4"]
    job.record("A", "2")
    (job.folder / "2").write_text("longer")
    job.write("5")
    manifest = job.checkpoint()
    assert job.names() == ["4", "2", "5"]
    assert job.resume(manifest) == []


def test_what_the_program_moves_removes_and_writes_again_is_no_change(job: Job) -> None:
    for name in ("run/one", "run/two", "removed", "moved", "rewritten", "replaced"):
        job.write(name)
    job.checkpoint()
    job.record("M", "run", "done")
    (job.folder / "run").rename(job.folder / "done")
    for name in ("removed", "moved", "replaced"):
        job.record("F", name)
    (job.folder / "removed").unlink()
    job.record("C", "new-name")
    (job.folder / "moved").rename(job.folder / "new-name")
    job.record("F", "rewritten")
    (job.folder / "rewritten").write_text("longer text")
    job.write("temporary", "the newest").replace(job.folder / "replaced")
    manifest = job.checkpoint()
    assert job.resume(manifest) == []
    assert sorted(job.names()) == ["done/one", "done/two", "new-name", "replaced", "rewritten"]


def test_what_may_have_changed_again_after_the_checkpoint_is_not_compared(job: Job) -> None:
    changed, linked = job.write("changed"), job.write("linked")
    os.link(linked, job.folder / "second-name")
    job.record("C", "second-name")
    manifest = job.checkpoint(is_remembered=False)
    job.record("F", "changed")
    changed.write_text("longer text")
    written = WrittenFiles(os.getpid(), job.root, streams=(), since=None)
    written.open.clear()
    written_files.remember(job.root, manifest, job.root.parent, written)
    linked.write_text("longer text")
    changed.write_text("text")
    assert job.resume(manifest) == []
    assert {*job.names()} == {"changed", "linked", "second-name"}


def test_what_a_rollback_puts_back_is_not_compared(job: Job) -> None:
    path = job.write("results")
    manifest = job.checkpoint()
    path.write_text("put back, with another time")
    assert job.resume(manifest, [path]) == []
    path.write_text("by somebody")
    assert job.resume(manifest) == ["results changed after the checkpoint; the program goes on with it as it is"]


def test_nothing_is_compared_that_may_be_another_generations(job: Job) -> None:
    path = job.write("results")
    first = job.checkpoint()
    job.record("F", "results")
    path.write_text("longer text")
    second = job.checkpoint(is_remembered=False)
    assert job.resume(second) == []
    path.write_text("text")
    assert job.resume(first) == []
    path.write_text("longer text")
    assert job.resume(first, is_recorded=False) == []
    assert job.names() == ["results"]


def test_of_a_copy_of_the_directory_the_times_say_nothing(job: Job) -> None:
    paths = [job.write(name) for name in ("results", "longer")]
    manifest = job.checkpoint()
    copy = job.root.parent.with_name("copy")
    copy.mkdir()
    job.root.rename(copy / "undo")
    job.root = copy / "undo"
    for path in paths:
        os.utime(path, (0, 0))
    with paths[1].open("a") as file:
        file.write("more")
    assert job.resume(manifest) == ["longer changed after the checkpoint; the program goes on with it as it is"]


def test_what_the_program_had_open_is_remembered_and_compared_by_others(job: Job) -> None:
    path = job.write("log")
    held = held_files.described(path, path.stat(), None)
    held_files.write(job.root.parent, HeldFiles(files=[held]))
    manifest = job.checkpoint()
    path.write_text("longer text")
    assert job.resume(manifest) == []
    assert job.names() == ["log"]


def test_of_another_lineage_and_of_what_is_damaged_nothing_is_known(job: Job) -> None:
    job.write("results")
    job.checkpoint()
    assert job.names(2) == []
    (job.root / written_files.NAME).write_bytes(b'{"lineage":1,"files":[[')
    assert job.names() == []
    job.write("more")
    job.checkpoint()
    assert "more" in job.names()


def test_pipes_devices_and_links_are_not_remembered(job: Job) -> None:
    os.mkfifo(job.folder / "pipe")
    (job.folder / "link").symlink_to("nowhere")
    for name in ("pipe", "link", "/dev/null", "/SYSV/shm/7"):
        job.record("C", name)
    job.checkpoint()
    assert job.names() == []
