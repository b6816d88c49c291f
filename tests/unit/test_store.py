"""One job's directory: what is on disk when a commit is interrupted at any step, and what later attempts make of it."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import errno
import json
import os
import pathlib
import signal
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.errors import StoreError
from dmtcp_py.rollback.parts import numbers_of
from dmtcp_py.rollback.recording import forget_unneeded
from dmtcp_py.store.history import read_history
from dmtcp_py.store.layout import job_layout, manifest_path
from dmtcp_py.store.mirrored import MirrorState, state_path
from dmtcp_py.store.mirrored import encode as encode_mirrored
from dmtcp_py.store.needs import needed_parts
from dmtcp_py.store.records import BatchRun, Job, State, encode, utc_now
from dmtcp_py.store.store import open_store, read_state
from dmtcp_py.store.verify import verify
from dmtcp_py.system.files import make_private_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.staged import StagedImages
    from dmtcp_py.store.store import Store

    Open = Callable[[], Store]
    Commit = Callable[..., Manifest]
    Stage = Callable[[Store], StagedImages]

STEPS = ("mkdir", "open", "rename", "replace", "fsync", "chmod")
MANY = 100


def state(**fields: Any) -> State:
    return State(**{"lineage": 1, "epoch": 1, "phase": "running", "started": utc_now(), "updated": utc_now(), **fields})


@dataclass
class Interruption:
    """Does something before the system call number AT of those that change a disk; once."""

    at: int
    act: Callable[[str], None]
    seen: int = 0

    @property
    def happened(self) -> bool:
        """Whether there was such a call."""
        return self.seen > self.at

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put this before the calls, as the store and pathlib find them; no disk is waited for."""
        monkeypatch.setattr(os, "fsync", lambda _fd: None)
        for owner, names in ((os, STEPS), (pathlib.Path, ("rename", "replace"))):
            for name in names:
                monkeypatch.setattr(owner, name, self._before(name, getattr(owner, name)))

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.seen += 1
            if self.seen == self.at + 1:
                self.act(name)
            return call(*args, **options)

        return counted


def disk_is_full(_call: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die(_call: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def everything_verifies(layout: JobLayout) -> bool:
    return all(verify(layout, number).generation == number for number in layout.generation_numbers())


def content(layout: JobLayout, number: int) -> dict[str, bytes]:
    folder = layout.generation(number)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_committed_generation_has_its_images_and_a_manifest(store: Store, commit: Commit, layout: JobLayout) -> None:
    commit(store, {"ckpt_a.dmtcp": b"abc", "ckpt_a_files/log": b"defg"})
    assert set(content(layout, 1)) == {"ckpt_a.dmtcp", "ckpt_a_files/log", "manifest.json"}
    found = verify(layout, 1)
    assert [(image.name, image.size) for image in found.images] == [("ckpt_a.dmtcp", 3), ("ckpt_a_files/log", 4)]
    assert found.size == 7
    assert found.epoch == store.epoch


def test_what_is_committed_is_this_users_alone(store: Store, commit: Commit, layout: JobLayout) -> None:
    commit(store)
    paths = [layout.root, *layout.generation(1).rglob("*")]
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in paths} == {path.name: "0o0" for path in paths}


def test_numbers_count_up(store: Store, commit: Commit, layout: JobLayout) -> None:
    assert [commit(store).generation for _ in range(3)] == [1, 2, 3]
    assert layout.generation_numbers() == [1, 2, 3]


def test_everything_is_on_the_disk_before_the_name_that_says_so(
    store: Store, commit: Commit, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, pathlib.Path.rename

    def note_fsync(fd: int) -> None:
        order.append(os.readlink(f"/proc/self/fd/{fd}").removeprefix(f"{layout.generations}/"))
        fsync(fd)

    def note_rename(source: Path, target: Path) -> Path:
        order.append(f"{source.name} -> {target.name}")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(pathlib.Path, "rename", note_rename)
    commit(store, {"ckpt_a.dmtcp": b"abc", "files/deep/log": b"defg"})
    named = order.index("000001.partial -> 000001")
    before = order[:named]
    for folder in ("000001.partial", "000001.partial/files", "000001.partial/files/deep"):
        assert folder in before, "a folder's entries are on the disk"
    manifest = next(index for index, name in enumerate(before) if "manifest.json" in name)
    for image in ("000001.partial/ckpt_a.dmtcp", "000001.partial/files/deep/log"):
        assert image in before[:manifest], "images are on the disk before the manifest that lists them"
    assert "000001.partial" in before[manifest:], "the manifest's name is on the disk"
    assert str(layout.generations) in order[named:], "the generation's name is on the disk"


def test_a_full_disk_at_any_step_leaves_the_earlier_generations_and_the_next_commit_works(
    store: Store, commit: Commit, staged: Stage, layout: JobLayout
) -> None:
    commit(store)
    for at in range(MANY):
        images = staged(store)
        before = {number: content(layout, number) for number in layout.generation_numbers()}
        interruption = Interruption(at, disk_is_full)
        with pytest.MonkeyPatch.context() as monkeypatch:
            interruption.patch(monkeypatch)
            with suppress(StoreError):
                commit(store, images)
        assert {number: content(layout, number) for number in before} == before
        assert everything_verifies(layout)
        assert layout.partials() == []
        assert commit(store).generation == layout.generation_numbers()[-1]
        if not interruption.happened:
            break
    else:
        pytest.fail("the steps do not come to an end")
    assert at > 10


def test_a_commit_that_fails_names_the_path_and_the_reason(store: Store, commit: Commit, layout: JobLayout) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", disk_is_full)
        with pytest.raises(StoreError, match="generation 1 could not be committed") as failed:
            commit(store)
    assert str(layout.generations) in failed.value.what
    assert "No space left on device" in failed.value.what
    assert "free space" in failed.value.hint


def test_a_number_is_not_used_again_where_only_the_last_fsync_failed(
    store: Store, commit: Commit, layout: JobLayout
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        fsync = os.fsync

        def fail_on_the_folder(fd: int) -> None:
            if os.readlink(f"/proc/self/fd/{fd}") == str(layout.generations):
                disk_is_full("fsync")
            fsync(fd)

        monkeypatch.setattr(os, "fsync", fail_on_the_folder)
        with pytest.raises(StoreError):
            commit(store)
    assert commit(store).generation > (max(layout.generation_numbers()[:-1], default=0))
    assert everything_verifies(layout)


def test_a_kill_at_any_step_of_a_commit_loses_nothing_that_was_committed(
    tmp_path: Path, commit: Commit, staged: Stage
) -> None:
    """Each step kills a process of its own, in a job of its own; the next attempt finds what it left."""
    for at in range(MANY):
        layout = job_layout(tmp_path, f"job-{at}")
        was_killed = _commit_twice_killed_at(layout, at, commit, staged)
        found = layout.generation_numbers()
        assert found in ([1], [1, 2]), f"step {at}"
        assert everything_verifies(layout)
        with closing_store(layout) as store:
            store.clean()
            assert layout.partials() == []
            assert list(layout.staging.iterdir()) == []
            assert commit(store).generation == found[-1] + 1
            assert everything_verifies(layout)
        if not was_killed:
            assert found == [1, 2]
            break
    else:
        pytest.fail("the steps do not come to an end")
    assert at > 10


class closing_store:  # noqa: N801 - reads as what it is: a context
    """A store that is let go at the end."""

    def __init__(self, layout: JobLayout) -> None:
        self._store = open_store(layout, batch=BatchRun(), say=pytest.fail, warn=pytest.fail)

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.lock.release()


def _commit_twice_killed_at(layout: JobLayout, at: int, commit: Commit, staged: Stage) -> bool:
    """Commit two generations in another process that is killed at step AT of the second; return whether it was."""

    def commit_twice() -> None:
        store = open_store(layout, batch=BatchRun(), say=str, warn=str)
        store.clean()
        commit(store)
        images = staged(store)
        Interruption(at, die).patch(pytest.MonkeyPatch())
        commit(store, images)

    return is_killed_in(commit_twice)


def is_killed_in(act: Callable[[], None]) -> bool:
    """Run ACT in another process; return whether a signal killed it."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of threads, and those of pytest-xdist hold nothing that ACT wants
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_what_is_half_done_is_never_read(store: Store, commit: Commit, layout: JobLayout) -> None:
    commit(store)
    layout.generation(1).rename(layout.partial(2))
    assert layout.generation_numbers() == []
    with pytest.raises(Exception, match="no generation 2"):
        verify(layout, 2)


def test_cleaning_removes_what_is_half_done_and_nothing_else(store: Store, commit: Commit, layout: JobLayout) -> None:
    commit(store)
    layout.partial(2).mkdir()
    (layout.partial(2) / "ckpt.dmtcp").write_bytes(b"half")
    (layout.staging / "000007-1").mkdir()
    before = content(layout, 1)
    store.clean()
    assert content(layout, 1) == before
    assert layout.partials() == []
    assert list(layout.staging.iterdir()) == []


def test_cleaning_follows_no_symlink(store: Store, layout: JobLayout, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    layout.partial(2).symlink_to(precious)
    (layout.staging / "link").symlink_to(precious)
    store.clean()
    assert (precious / "file").exists()


class TestPruning:
    """Generations that the plan lets go."""

    def test_the_newest_stay_and_the_history_names_the_rule(
        self, store: Store, commit: Commit, layout: JobLayout
    ) -> None:
        for _ in range(4):
            commit(store)
        store.prune(keep=2, lineage=1)
        assert layout.generation_numbers() == [3, 4]
        lines = [line for line in read_history(layout) if line["event"] == "pruned"]
        assert {line["generation"]: line["rule"] for line in lines} == dict.fromkeys((1, 2), "older than the newest 2")

    def test_what_came_up_at_a_restart_stays(self, store: Store, commit: Commit, layout: JobLayout) -> None:
        for _ in range(4):
            commit(store)
        store.record("resumed", generation=1)
        store.prune(keep=1, lineage=1)
        assert layout.generation_numbers() == [1, 4]

    def test_one_that_is_damaged_is_not_counted(self, store: Store, commit: Commit, layout: JobLayout) -> None:
        for _ in range(3):
            commit(store)
        manifest_path(layout.generation(3)).write_text("garbage")
        store.prune(keep=1, lineage=1)
        assert layout.generation_numbers() == [2, 3]

    def test_the_journal_stays_while_one_of_the_generations_does_not_say_what_it_needs(
        self, store: Store, commit: Commit, layout: JobLayout
    ) -> None:
        for number in (1, 2, 3):
            commit(store, undo_part=f"{number:06}")
            (layout.undo / f"{number:06}").mkdir(parents=True)
        mirror = MirrorState(url="file:/mirror", epoch=1, updated=utc_now(), generations=[3], oldest_part="000003")
        make_private_dir(layout.mirrors)
        state_path(layout, "0123").write_bytes(encode_mirrored(mirror))
        manifest_path(layout.generation(2)).write_text("garbage")
        forget_unneeded(layout.undo, needed_parts(layout, [1, 2, 3]))
        assert numbers_of(layout.undo) == [1, 2, 3]
        forget_unneeded(layout.undo, needed_parts(layout, [3]))
        assert numbers_of(layout.undo) == [3]

    def test_numbers_grow_when_all_are_gone(self, opened: Open, commit: Commit, layout: JobLayout) -> None:
        store = opened()
        for _ in range(3):
            store.record("checkpointed", generation=commit(store).generation)
        store.remove([verdict for verdict in store.prune(keep=1, lineage=1) if verdict.keep])
        store.lock.release()
        assert layout.generation_numbers() == []
        assert commit(opened()).generation == 4

    def test_a_kill_at_any_step_leaves_whole_generations(self, tmp_path: Path, commit: Commit) -> None:
        for at in range(MANY):
            layout = job_layout(tmp_path, f"job-{at}")
            was_killed = is_killed_in(lambda layout=layout, at=at: _prune_killed_at(layout, at, commit))
            assert 3 in layout.generation_numbers()
            assert everything_verifies(layout)
            if not was_killed:
                assert layout.generation_numbers() == [3]
                break
        assert at > 4

    def test_one_that_cannot_be_removed_is_warned_of(
        self, store: Store, commit: Commit, warned: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(2):
            commit(store)
        with monkeypatch.context() as patched:
            Interruption(0, disk_is_full).patch(patched)
            store.prune(keep=1, lineage=1)
        assert len(warned) == 1
        assert "No space left on device" in warned[0]


def _prune_killed_at(layout: JobLayout, at: int, commit: Commit) -> None:
    store = open_store(layout, batch=BatchRun(), say=str, warn=str)
    store.clean()
    for _ in range(3):
        commit(store)
    interruption = Interruption(at, die)
    monkeypatch = pytest.MonkeyPatch()
    interruption.patch(monkeypatch)
    monkeypatch.setattr(os, "unlink", interruption._before("unlink", os.unlink))
    store.prune(keep=1, lineage=1)


class TestHistory:
    """The lines of what happened."""

    def test_each_event_is_one_line_with_time_and_epoch(self, store: Store, layout: JobLayout) -> None:
        store.record("started", why="new")
        line = json.loads(layout.history.read_text())
        assert (line["event"], line["why"], line["epoch"]) == ("started", "new", store.epoch)
        assert line["time"].endswith("Z")

    def test_it_is_only_appended_to(self, store: Store, layout: JobLayout) -> None:
        store.record("started")
        before = layout.history.read_bytes()
        store.record("finished")
        assert layout.history.read_bytes().startswith(before)

    @pytest.mark.parametrize("torn", [b'{"time":"2026-01-02T1', b'{"event"', b"\0\0\0\0", b"[1, 2", b"\xff"])
    def test_a_torn_line_is_left_out(self, store: Store, layout: JobLayout, torn: bytes) -> None:
        store.record("started")
        with layout.history.open("ab") as file:
            file.write(torn)
        assert [line["event"] for line in read_history(layout)] == ["started"]

    def test_a_torn_line_does_not_take_the_next_one_with_it(self, store: Store, layout: JobLayout) -> None:
        with layout.history.open("ab") as file:
            file.write(b'{"time":"2026-01-02T1')
        store.record("checkpointed", generation=5)
        assert [line["generation"] for line in read_history(layout)] == [5]

    @pytest.mark.parametrize("line", ["7", "[]", '"text"', "null", "{}", '{"event": "checkpointed"}', '{"event": 5}'])
    def test_a_line_of_another_shape_stops_nothing(
        self, opened: Open, layout: JobLayout, commit: Commit, line: str
    ) -> None:
        store = opened()
        store.record("checkpointed", generation=commit(store).generation)
        store.lock.release()
        with layout.history.open("a") as file:
            file.write(
                f'{line}\n{{"event": "resumed"}}\n{{"event": "checkpointed", "generation": "2", "epoch": "x"}}\n'
            )
        again = opened()
        assert commit(again).generation == 2
        assert len(again.prune(keep=2, lineage=1)) == 2

    def test_a_job_without_one_has_no_lines(self, layout: JobLayout) -> None:
        assert read_history(layout) == []

    def test_the_epoch_grows_by_the_history_where_the_lock_is_lost(self, opened: Open, layout: JobLayout) -> None:
        store = opened()
        store.record("started")
        store.lock.release()
        layout.lock.unlink()
        assert opened().epoch == 2

    def test_a_full_disk_is_warned_of_once(
        self, store: Store, warned: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", disk_is_full)
            store.record("checkpointed", generation=1)
            store.record("checkpointed", generation=2)
        assert len(warned) == 1
        assert "free space" in warned[0]


class TestState:
    """What the newest attempt is doing."""

    def test_what_is_written_is_read(self, store: Store) -> None:
        now = state(engine="dmtcp 4.2.0", processes=[(1, 2.0)])
        store.write_state(now, durable=True)
        assert store.state() == now

    def test_a_reader_sees_the_old_or_the_new(self, store: Store, layout: JobLayout) -> None:
        store.write_state(state(phase="running"), durable=False)
        with layout.state.open("rb") as reader:
            store.write_state(state(phase="finished"), durable=False)
            assert b'"running"' in reader.read()
        assert [path.name for path in layout.root.glob(".*")] == []

    @pytest.mark.parametrize("damaged", [b"", b"{", b"\0" * 300, b"[]", b'{"lineage": 1}'])
    def test_one_that_cannot_be_read_is_as_good_as_none(self, store: Store, layout: JobLayout, damaged: bytes) -> None:
        layout.state.write_bytes(damaged)
        assert store.state() is None
        assert read_state(layout) is None

    def test_one_of_a_newer_release_is_refused(self, store: Store, layout: JobLayout) -> None:
        layout.state.write_text('{"format": 2}')
        with pytest.raises(StoreError, match="newer"):
            store.state()

    def test_a_full_disk_ends_nothing(
        self, store: Store, warned: list[str], monkeypatch: pytest.MonkeyPatch, layout: JobLayout
    ) -> None:
        store.write_state(state(phase="running"), durable=True)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", disk_is_full)
            store.write_state(state(phase="finished"), durable=True)
        assert len(warned) == 1
        found = read_state(layout)
        assert found is not None
        assert found.phase == "running"


class TestOpening:
    """Making a job's directory, or finding one."""

    def test_it_says_what_it_is_and_is_this_users_alone(self, store: Store, layout: JobLayout) -> None:
        directory = layout.root.parent
        assert "dmtcp-run keeps its jobs here" in (directory / "README").read_text()
        assert store.job() is None
        assert {path.stat().st_mode & 0o777 for path in (directory, layout.root, layout.generations)} == {0o700}

    def test_a_directory_that_was_there_is_left_as_it_was(self, layout: JobLayout, opened: Open) -> None:
        layout.root.parent.mkdir(mode=0o755)
        opened()
        assert [path.name for path in layout.root.parent.iterdir()] == [layout.name]
        assert layout.root.parent.stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize("what", ["directory", "job"])
    def test_a_file_in_its_place_is_named(self, layout: JobLayout, opened: Open, what: str) -> None:
        place = layout.root if what == "job" else layout.root.parent
        place.parent.mkdir(exist_ok=True)
        place.touch()
        with pytest.raises(StoreError) as refused:
            opened()
        assert str(place) in refused.value.what
        assert "--dir" in refused.value.hint
        assert place.read_bytes() == b""

    def test_a_job_record_is_written_whole_and_read(self, store: Store, layout: JobLayout) -> None:
        job = Job(lineage=1, command=["./count"], cwd="/", created=utc_now())
        store.write_job(job)
        assert store.job() == job
        assert layout.job.read_bytes() == encode(job)

    def test_no_two_stagings_have_the_same_path(self, opened: Open) -> None:
        first = opened()
        paths = [first.make_staging(), first.make_staging()]
        first.lock.release()
        paths.append(opened().make_staging())
        assert len(set(paths)) == 3

    def test_what_the_attempt_before_left_is_known(self, opened: Open) -> None:
        first = opened()
        os.close(first.lock._fd)
        before = opened().before
        assert before is not None
        assert before.record == first.lock.record
