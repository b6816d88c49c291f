"""What an attempt fetches from mirrors: two machines with a directory of the job each, and no engine."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dmtcp_py.attempt import fetched
from dmtcp_py.attempt.mirror_process import holder_of
from dmtcp_py.errors import DmtcpRunError, FencedError, LockedError
from dmtcp_py.messages import Report
from dmtcp_py.mirror import bringing
from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.copying import Copier
from dmtcp_py.mirror.errors import DamagedError, MirrorError
from dmtcp_py.mirror.opening import open_place
from dmtcp_py.mirror.order import Order
from dmtcp_py.mirror.progress import Progress
from dmtcp_py.options import RunOptions
from dmtcp_py.report import mirrors
from dmtcp_py.store.history import last_that_ran, numbers_in_history
from dmtcp_py.store.layout import job_layout
from dmtcp_py.store.mirrored import MirrorState, encode, forget_mirrors, mirror_states, state_path
from dmtcp_py.store.records import BatchRun, Job, path_text, utc_now
from dmtcp_py.store.store import open_store
from dmtcp_py.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Commit
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.store import Store

ENDED = "checkpointed"


@dataclass
class Machine:
    """A machine with a directory of the job of its own in FOLDER, and what it is told while it fetches."""

    folder: Path
    commit: Commit
    pid: int = 1
    held: Store | None = None

    def open(self) -> Store:
        """Hold the job's directory, as each attempt does; the one before has ended."""
        self.held = open_store(self.let_go(), batch=BatchRun(), say=pytest.fail, warn=pytest.fail)
        return self.held

    def let_go(self) -> JobLayout:
        """End the attempt that holds the job's directory, if there is one; return where it is."""
        if self.held is not None:
            self.held.lock.release()
            self.held = None
        return job_layout(self.folder, "job")

    def order(self, store: Store, *mirrors: Path) -> Order:
        return Order(
            root=path_text(store.layout.root),
            mirrors=[f"file:{mirror}" for mirror in mirrors],
            holder=msgspec.structs.replace(holder_of(store), pid=self.pid),
            local_epoch=last_that_ran(store.layout),
        )

    def bring(self, *mirrors: Path) -> Store:
        """Fetch the job from MIRRORS; return its directory, held."""
        store = self.open()
        store.outrank(bringing.bring(self.order(store, *mirrors), lambda **_values: None))
        return store

    def run(self, store: Store, commits: int, *mirrors: Path, ended: str | None = ENDED) -> None:
        """Run the program: COMMITS generations, copied to MIRRORS; then it ENDED so, or is still running."""
        if store.job() is None:
            store.write_job(Job(lineage=1, command=["count"], cwd="/", created=utc_now()))
        newest = max(store.layout.generation_numbers(), default=None)
        facts = {"generation": newest, "host": os.uname().nodename, "pid": self.pid}
        store.record("started" if newest is None else "resumed", **facts)
        for _ in range(commits):
            generation = self.commit(store, {"image": os.urandom(1000)}).generation
            store.record("checkpointed", generation=generation)
        for mirror in mirrors:
            address = address_of(f"file:{mirror}")
            progress = Progress(state_path(store.layout, address.key), address.shown, store.epoch)
            copier = Copier(self.order(store, mirror), open_place(address), progress, lambda **_values: None)
            copier.copy_rest()
            copier.copy_generations()
            copier.copy_rest(ended)


@pytest.fixture
def machine(tmp_path: Path, commit: Commit) -> Iterator[Callable[[str], Machine]]:
    """Return what makes a machine; what it holds at the end is let go."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        made.append(Machine(tmp_path / name, commit, pid=os.getpid() + 1 - len(made)))
        return made[-1]

    yield make
    for one in made:
        one.let_go()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Return where the mirror is."""
    return tmp_path / "mirror"


def generations(store: Store) -> list[int]:
    """Return the generations in the directory of STORE, each of which is intact."""
    return [verify(store.layout, number).generation for number in store.layout.generation_numbers()]


def test_a_directory_that_was_overtaken_gets_the_newest_generation(
    machine: Callable[[str], Machine], mirror: Path
) -> None:
    first, second = machine("first"), machine("second")
    first.run(first.open(), 1, mirror)
    second.run(second.bring(mirror), 1, mirror)
    store = first.bring(mirror)
    assert generations(store) == [1, 2]
    assert store.epoch == 3
    assert store.next_number == 3


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_job_that_went_on_at_two_places_is_not_resumed(
    machine: Callable[[str], Machine], mirror: Path, attempts: int
) -> None:
    first, second = machine("first"), machine("second")
    first.run(first.open(), 1, mirror)
    for _ in range(attempts):
        first.run(first.open(), 1)
    second.run(second.bring(mirror), 3, mirror)
    with pytest.raises(MirrorError, match="has gone on at two places"):
        first.bring(mirror)
    store = first.open()
    assert generations(store) == list(range(1, attempts + 2))
    first.run(store, 1)


def test_each_generation_that_was_overtaken_is_set_aside(machine: Callable[[str], Machine], mirror: Path) -> None:
    first, second = machine("first"), machine("second")
    first.run(first.open(), 1, mirror)
    for _ in range(2):
        first.run(first.bring(mirror), 1)
        for _ in range(6):
            second.run(second.bring(mirror), 0, mirror)
        store = first.bring(mirror)
        assert generations(store) == [1]
    assert len([*store.layout.generations.glob("000002.superseded*")]) == 2


def test_it_is_refused_each_time_while_the_other_one_runs(machine: Callable[[str], Machine], mirror: Path) -> None:
    first, second = machine("first"), machine("second")
    first.run(first.open(), 1, mirror)
    second.run(second.bring(mirror), 1, mirror, ended=None)
    options = RunOptions(command=("count",), mirrors=(f"file:{mirror}",))
    for _ in range(3):
        with pytest.raises(LockedError):
            fetched.bring(first.open(), options, Report())
    with pytest.raises(LockedError):
        mirrors.fetch([f"file:{mirror}"], first.let_go(), None, Report())


def test_an_older_one_is_not_resumed_where_the_newest_cannot_be_fetched_now(
    machine: Callable[[str], Machine], mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machine("first"), machine("second")
    first.run(first.open(), 1, mirror)
    second.run(second.bring(mirror), 2, mirror)

    def fail(*_args: object) -> None:
        raise OSError("the network is down")

    with monkeypatch.context() as patched:
        patched.setattr(bringing, "fetch_generation", fail)
        for _ in range(2):
            with pytest.raises(DmtcpRunError, match="the network is down"):
                first.bring(mirror)
    assert generations(first.bring(mirror)) == [1, 3]


def test_one_that_is_damaged_at_the_mirror_gives_way_to_the_one_before(
    machine: Callable[[str], Machine], mirror: Path
) -> None:
    first, second = machine("first"), machine("second")
    first.run(first.open(), 1, mirror)
    second.run(second.bring(mirror), 2, mirror)
    (mirror / "job" / "generations" / "000003" / "image").write_bytes(b"damage")
    assert generations(first.bring(mirror)) == [1, 2]
    (mirror / "job" / "generations" / "000002" / "image").write_bytes(b"damage")
    assert generations(machine("third").bring(mirror)) == [1]
    (mirror / "job" / "generations" / "000001" / "image").write_bytes(b"damage")
    with pytest.raises(DamagedError):
        machine("fourth").bring(mirror)


def test_what_an_overtaken_attempt_left_at_another_mirror_is_not_resumed(
    machine: Callable[[str], Machine], mirror: Path, tmp_path: Path
) -> None:
    first, second, other = machine("first"), machine("second"), tmp_path / "other"
    store = first.open()
    first.run(store, 1, mirror, other)
    # each machine reaches one of the two mirrors
    first.run(store, 2, other)
    second.run(second.bring(mirror), 1, mirror)
    store = first.bring(mirror, other)
    assert generations(store) == [1, 2]
    assert numbers_in_history(store.layout, "checkpointed", "generation") == [1, 2]
    assert generations(machine("third").bring(mirror, other)) == [2]


def test_a_mirror_that_was_not_reached_last_has_what_the_history_knows(
    machine: Callable[[str], Machine], mirror: Path, tmp_path: Path
) -> None:
    first, other = machine("first"), tmp_path / "other"
    first.run(first.open(), 2, other)
    first.run(first.open(), 0, mirror)
    for folder in (mirror / "job" / "generations").iterdir():
        (folder / "manifest.json").unlink()
    assert generations(machine("second").bring(mirror, other)) == [2]


def test_the_lock_beats_while_nothing_arrives_and_another_attempt_ends_the_fetch(
    machine: Callable[[str], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (end, begin) = machine("first").open(), os.pipe()
    monkeypatch.setattr(fetched, "HEARTBEAT_S", 0.05)
    with os.fdopen(end, "rb") as stdout, os.fdopen(begin, "wb", buffering=0) as stdin:
        child: Any = type("Child", (), {"stdout": stdout})()
        lines = fetched._lines(child, store.lock)
        stdin.write(b'{"done":1}\n{"do')
        assert next(lines) == b'{"done":1}'
        os.utime(store.layout.lock, (0, 0))

        def take_over() -> None:
            until = time.monotonic() + 60
            while not store.layout.lock.stat().st_mtime and time.monotonic() < until:
                time.sleep(0.01)
            later = msgspec.structs.replace(store.lock.record, epoch=store.epoch + 1, pid=store.lock.record.pid + 1)
            store.layout.lock.write_bytes(msgspec.json.encode(later))

        thread = threading.Thread(target=take_over)
        thread.start()
        with pytest.raises(FencedError):
            next(lines)
        thread.join()


@pytest.mark.parametrize(("told", "goes_on"), [({}, True), ({"is_behind": True}, False), ({"fetching": 3}, False)])
def test_a_mirror_that_hangs_is_no_reason_to_resume_what_is_known_to_be_older(
    machine: Callable[[str], Machine],
    mirror: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, Any],
    *,
    goes_on: bool,
) -> None:
    first = machine("first")
    store = first.open()
    first.run(store, 1, mirror)
    said: dict[str, Any] = {}
    ended = threading.Event()
    monkeypatch.setattr(bringing, "_SILENT_S", 0.2)
    monkeypatch.setattr(bringing, "tell_supervisor", lambda **values: said.update(values))
    monkeypatch.setattr(bringing.os, "_exit", lambda _status: ended.set())
    began = time.monotonic()
    watch = bringing._Watch(first.order(store, mirror))
    watch.tell(**told, patience_s=0.5)
    assert ended.wait(60)
    assert time.monotonic() - began > 0.6
    assert ("epoch" in said, "error" in said) == (goes_on, not goes_on)


def test_a_mirror_that_is_not_used_any_more_holds_no_generation(
    machine: Callable[[str], Machine], mirror: Path, tmp_path: Path
) -> None:
    first, other = machine("first"), tmp_path / "other"
    store = first.open()
    first.run(store, 1, mirror, other)
    for place in (mirror, other):
        state = MirrorState(url=f"file:{place}", epoch=1, updated=utc_now(), copying=1, size=1)
        path = state_path(store.layout, address_of(state.url).key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(state))
    forget_mirrors(store.layout, {address_of(f"file:{mirror}").key})
    assert [state.url for state in mirror_states(store.layout)] == [f"file:{mirror}"]
