"""Who may write: flock between processes of one machine, heartbeat and epoch between machines."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from dmtcp_py.attempt.supervisor import TICK_S
from dmtcp_py.errors import FencedError, LockedError, StoreError
from dmtcp_py.store import claims, lock
from dmtcp_py.store.lock import HEARTBEAT_S, STALE_S, acquire, hold_for_maintenance, holding
from dmtcp_py.store.records import BatchRun, LockRecord, encode
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding, JobLock

HOLDER = """
import sys
from pathlib import Path
from dmtcp_py.store.layout import job_layout
from dmtcp_py.store.lock import acquire
from dmtcp_py.store.records import BatchRun
layout = job_layout(Path(sys.argv[1]), sys.argv[2])
held, _ = acquire(layout, least_epoch=0, batch=BatchRun("slurm", "4711"), say=print)
print("held", flush=True)
sys.stdin.read()
"""
RACER = """
import fcntl, select, sys
from pathlib import Path
fcntl.flock = lambda fd, how: None
from dmtcp_py.errors import LockedError
from dmtcp_py.store import claims, lock
from dmtcp_py.store.layout import job_layout
from dmtcp_py.store.records import BatchRun
# each is on a machine of its own
lock.boot_id = lambda: f"boot {lock.os.getpid()}"
print("ready", flush=True)
sys.stdin.readline()
try:
    held, _ = lock.acquire(job_layout(Path(sys.argv[1]), sys.argv[2]), least_epoch=0, batch=BatchRun(), say=str)
except LockedError:
    print("locked", flush=True)
else:
    print("held", flush=True)
    while not select.select([sys.stdin], [], [], 0.5)[0]:
        held.beat()
"""
ELSEWHERE = LockRecord(epoch=7, host="node17", pid=4321, boot_id="of another machine", scheduler_job="99")


class Take(Protocol):
    """Take the job's lock as an attempt does; it is let go after the test."""

    def __call__(
        self, *, least_epoch: int = 0, scheduler_job: str | None = None, say: Callable[[str], None] = ...
    ) -> tuple[JobLock, Holding | None]: ...


@pytest.fixture
def take(layout: JobLayout) -> Iterator[Take]:
    """Make the job's folder, and return what takes its lock."""
    layout.root.mkdir(parents=True)
    taken = []

    def take_one(
        *, least_epoch: int = 0, scheduler_job: str | None = None, say: Callable[[str], None] = pytest.fail
    ) -> tuple[JobLock, Holding | None]:
        found = acquire(layout, least_epoch=least_epoch, batch=BatchRun(job=scheduler_job), say=say)
        taken.append(found[0])
        return found

    yield take_one
    for held in taken:
        with suppress(OSError):
            held.release()


def abandon(held: JobLock) -> None:
    """Lose HELD as a SIGKILL does: nothing is written."""
    os.close(held._fd)


def test_the_holder_is_told_with_host_and_pid(take: Take, layout: JobLayout) -> None:
    take(scheduler_job="4711")
    found = holding(layout)
    assert found is not None
    assert found.is_alive
    assert found.record.host == os.uname().nodename
    assert found.record.pid == os.getpid()
    assert found.record.scheduler_job == "4711"
    assert json.loads(layout.lock.read_bytes())["released"] is False


def test_a_second_process_is_refused_with_host_and_pid_of_the_first(take: Take, layout: JobLayout) -> None:
    argv = [sys.executable, "-c", HOLDER, str(layout.root.parent), layout.name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError) as refused:
            take()
        assert refused.value.status == 11
        assert refused.value.what == (
            f"job {layout.name} is running on {os.uname().nodename} as pid {holder.pid}, scheduler job 4711"
        )
        assert f"dmtcp-ctl --dir {layout.root.parent} status {layout.name}" in refused.value.hint
        holder.kill()
    assert take()[0].record.epoch == 2, "a SIGKILL lets go"


def test_being_refused_changes_nothing_of_the_holders_lock(take: Take, layout: JobLayout) -> None:
    take()
    before = layout.lock.read_bytes(), layout.lock.stat().st_mtime_ns
    with pytest.raises(LockedError):
        take()
    assert (layout.lock.read_bytes(), layout.lock.stat().st_mtime_ns) == before


def test_the_lock_is_this_users_alone(take: Take, layout: JobLayout) -> None:
    take()
    assert layout.lock.stat().st_mode & 0o777 == 0o600


def test_the_epoch_grows_with_every_attempt(take: Take) -> None:
    epochs = []
    for _ in range(3):
        held, _ = take()
        epochs.append(held.record.epoch)
        held.release()
    assert epochs == [1, 2, 3]


def test_the_epoch_grows_after_attempts_that_were_killed(take: Take) -> None:
    abandon(take()[0])
    held, before = take()
    assert held.record.epoch == 2
    assert before is not None
    assert not before.record.released


def test_the_epoch_is_higher_than_the_historys(take: Take) -> None:
    assert take(least_epoch=41)[0].record.epoch == 42


def test_letting_go_is_written_down(take: Take, layout: JobLayout) -> None:
    held, _ = take()
    held.release()
    found = holding(layout)
    assert found is not None
    assert found.record.released
    assert not found.is_alive


@pytest.mark.parametrize("torn", [b"", b"{", b'{"epoch": 5, "host": "a', b"\0" * 100, b"[]", b'{"epoch": 5}'])
def test_a_torn_lock_is_taken_with_the_epoch_that_the_history_knows(take: Take, layout: JobLayout, torn: bytes) -> None:
    layout.lock.write_bytes(torn)
    assert holding(layout) is None
    held, before = take(least_epoch=5)
    assert (held.record.epoch, before) == (6, None)
    assert layout.lock.read_bytes() == encode(held.record)


def test_a_lock_that_was_longer_is_written_over_whole(take: Take, layout: JobLayout) -> None:
    layout.lock.write_bytes(encode(msgspec.structs.replace(ELSEWHERE, host="x" * 5000, released=True)))
    held, _ = take()
    assert layout.lock.read_bytes() == encode(held.record)


def test_a_job_that_was_never_run_has_no_holder(layout: JobLayout) -> None:
    assert holding(layout) is None


def test_a_symlink_is_no_lock(take: Take, layout: JobLayout) -> None:
    precious = layout.root / "precious"
    precious.write_text("unchanged")
    layout.lock.symlink_to(precious)
    with pytest.raises(StoreError, match="cannot be opened"):
        take()
    assert precious.read_text() == "unchanged"


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_flock")
class TestWithoutLocks:
    """A file system that cannot lock: the record of the holder, claims and heartbeats decide."""

    def test_one_of_two_gets_the_job(self, take: Take) -> None:
        take()
        with pytest.raises(LockedError):
            take()

    def test_the_next_gets_a_job_that_was_released(self, take: Take) -> None:
        first, _ = take()
        first.release()
        second, _ = take()
        assert second.record.epoch > first.record.epoch

    def test_a_job_is_not_maintained(self, take: Take, layout: JobLayout) -> None:
        take()[0].release()
        with pytest.raises(StoreError, match="cannot lock files") as refused, hold_for_maintenance(layout):
            pass
        assert str(layout.root) in refused.value.what


class TestHeartbeat:
    """What a holder shows of itself."""

    def test_beating_makes_the_heartbeat_young(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        os.utime(layout.lock, (0, 0))
        held.beat()
        found = holding(layout)
        assert found is not None
        assert found.heartbeat_age_s < HEARTBEAT_S

    def test_a_holder_here_lives_as_long_as_its_process_whatever_its_heartbeat(
        self, take: Take, layout: JobLayout
    ) -> None:
        take()
        os.utime(layout.lock, (0, 0))
        found = holding(layout)
        assert found is not None
        assert found.is_alive

    def test_a_process_that_got_the_pid_later_is_not_the_holder(self, layout: JobLayout) -> None:
        here = {"host": os.uname().nodename, "boot_id": lock.boot_id(), "pid": os.getpid(), "pid_started": 1.0}
        write(layout, msgspec.structs.replace(ELSEWHERE, **here))
        found = holding(layout)
        assert found is not None
        assert not found.is_alive

    @pytest.mark.parametrize(("age_s", "lives"), [(0.0, True), (STALE_S - 5, True), (STALE_S + 1, False)])
    def test_a_holder_elsewhere_lives_as_long_as_its_heartbeat(
        self,
        layout: JobLayout,
        age_s: float,
        lives: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        write(layout, ELSEWHERE, age_s)
        found = holding(layout)
        assert found is not None
        assert found.is_alive is lives

    def test_a_holder_here_of_before_the_boot_counts_as_elsewhere(self, layout: JobLayout) -> None:
        write(layout, msgspec.structs.replace(ELSEWHERE, host=os.uname().nodename), STALE_S + 1)
        found = holding(layout)
        assert found is not None
        assert not found.is_here
        assert not found.is_alive


def write(layout: JobLayout, record: LockRecord, age_s: float = 0.0) -> None:
    """Write RECORD as its holder did AGE_S ago."""
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.lock.write_bytes(encode(record))
    set_heartbeat(layout, time.time() - age_s)


def set_heartbeat(layout: JobLayout, moment: float) -> None:
    """Beat at MOMENT."""
    os.utime(layout.lock, (moment, moment))


class Clock:
    """Time as the lock sees it: sleeping is what makes it pass, and BEATS is called at each step of 0.1 s."""

    def __init__(self, beats: Callable[[float], None]) -> None:
        self.began = self.now = time.time()
        self._beats = beats

    def time(self) -> float:
        """Return the time of day."""
        return self.now

    def monotonic(self) -> float:
        """Return a time that cannot be set."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let SECONDS pass."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 0.1, until)
            self._beats(self.now)


class TestElsewhere:
    """A lock that an attempt on another machine has not been seen to let go."""

    def test_a_stale_one_of_before_this_machines_boot_is_taken_over_at_once(
        self, take: Take, layout: JobLayout
    ) -> None:
        gone = msgspec.structs.replace(ELSEWHERE, host=os.uname().nodename)
        write(layout, gone, STALE_S + 1)
        held, before = take()
        assert held.record.epoch == ELSEWHERE.epoch + 1
        assert before is not None
        assert before.record == gone

    def test_a_stale_one_is_watched_for_two_heartbeats_and_taken_over(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(layout, ELSEWHERE, STALE_S + 1)
        clock = Clock(lambda _now: None)
        monkeypatch.setattr(lock, "time", clock)
        held, before = take(say=lambda _text: None)
        assert held.record.epoch == ELSEWHERE.epoch + 1
        assert before is not None
        assert before.record == ELSEWHERE
        assert HEARTBEAT_S * 2 - 1 <= clock.now - clock.began < STALE_S

    def test_a_stale_one_that_goes_on_as_its_file_server_answers_again_is_refused(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(layout, ELSEWHERE, 300)
        goes_on_at = time.time() + HEARTBEAT_S + TICK_S
        monkeypatch.setattr(lock, "time", Clock(lambda now: set_heartbeat(layout, now) if now >= goes_on_at else None))
        with pytest.raises(LockedError, match="node17"):
            take(say=lambda _text: None)

    @pytest.mark.parametrize("ahead_s", [3600, -3600])
    def test_the_age_is_measured_by_the_clock_of_the_file_server(
        self, layout: JobLayout, monkeypatch: pytest.MonkeyPatch, ahead_s: float
    ) -> None:
        write(layout, ELSEWHERE, STALE_S / 2)
        really = time.time
        monkeypatch.setattr(time, "time", lambda: really() + ahead_s)
        found = holding(layout)
        assert found is not None
        assert found.is_alive
        assert STALE_S / 2 - 1 <= found.heartbeat_age_s < STALE_S
        set_heartbeat(layout, really() - STALE_S * 2)
        found = holding(layout)
        assert found is not None
        assert not found.is_alive
        assert [path.name for path in layout.root.iterdir()] == ["lock"]

    def test_one_that_was_let_go_is_taken_at_once(self, take: Take, layout: JobLayout) -> None:
        write(layout, msgspec.structs.replace(ELSEWHERE, released=True))
        assert take()[0].record.epoch == ELSEWHERE.epoch + 1

    def test_a_fresh_one_that_does_not_beat_again_is_waited_for_and_taken(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(layout, ELSEWHERE)
        clock = Clock(lambda _now: None)
        monkeypatch.setattr(lock, "time", clock)
        said: list[str] = []
        held, _ = take(say=said.append)
        assert held.record.epoch == ELSEWHERE.epoch + 1
        assert STALE_S - 1 <= clock.now - clock.began <= STALE_S + HEARTBEAT_S
        assert len(said) == 1
        assert "node17" in said[0]
        assert "4321" in said[0]

    @pytest.mark.parametrize("age_s", [0.0, 0.05, 0.6, 1.3, 2.4, 2.5, 3.7, 4.9])
    def test_one_that_beats_again_is_refused(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch, age_s: float
    ) -> None:
        write(layout, ELSEWHERE, age_s)
        began = time.time() - age_s
        # an attempt beats when its loop comes round, which is up to a second later than it is due
        period_s = HEARTBEAT_S + TICK_S * 0.7
        monkeypatch.setattr(lock, "time", Clock(lambda now: set_heartbeat(layout, now - (now - began) % period_s)))
        before = layout.lock.read_bytes()
        with pytest.raises(LockedError, match="node17 as pid 4321, scheduler job 99"):
            take(say=lambda _text: None)
        assert layout.lock.read_bytes() == before

    def test_one_whose_clock_is_slow_is_refused_when_it_beats(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behind_s = 20.0
        write(layout, ELSEWHERE, behind_s)
        monkeypatch.setattr(lock, "time", Clock(lambda now: set_heartbeat(layout, now - behind_s)))
        with pytest.raises(LockedError):
            take(say=lambda _text: None)

    def test_the_flock_is_let_go_when_it_is_refused(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(layout, ELSEWHERE, 3.0)
        with monkeypatch.context() as patched:
            patched.setattr(lock, "time", Clock(lambda now: set_heartbeat(layout, now)))
            with pytest.raises(LockedError):
                take(say=lambda _text: None)
        write(layout, msgspec.structs.replace(ELSEWHERE, released=True))
        assert take()[0].record.epoch == ELSEWHERE.epoch + 1


class TestClaims:
    """Where each of two attempts that start at the same moment has the flock."""

    @pytest.fixture(autouse=True)
    def _each_has_the_flock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fcntl, "flock", lambda _fd, _how: None)

    def test_of_attempts_that_start_at_once_one_has_the_job(self, layout: JobLayout) -> None:
        layout.root.mkdir(parents=True)
        argv = [sys.executable, "-c", RACER, str(layout.root.parent), layout.name]
        racers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        said = []
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for racer in racers:
            assert racer.stdout is not None
            said.append(racer.stdout.readline())
        for racer in racers:
            racer.communicate(timeout=LONG_S)
        assert sorted(said) == ["held\n"] + ["locked\n"] * 5

    def test_a_claim_of_an_attempt_that_ended_at_once_is_passed_over(self, take: Take, layout: JobLayout) -> None:
        layout.epochs.mkdir()
        ended = subprocess.Popen(["true"])
        ended.wait()
        layout.claim(1).symlink_to(f"{os.uname().nodename} {ended.pid} 1.0 {lock.boot_id()}")
        assert take()[0].record.epoch == 2

    def test_a_claim_from_elsewhere_that_comes_to_nothing_is_waited_for(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _claimed_by(layout, "node17 4321 1.0 another-boot")
        assert _waited_s(take, monkeypatch) >= STALE_S - 1

    def test_a_claim_from_a_container_is_waited_for_whoever_has_the_number_of_its_process_here(
        self, take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _claimed_by(layout, f"{os.uname().nodename} {os.getpid()} 1.0 {lock.boot_id()} 7")
        assert _waited_s(take, monkeypatch) >= STALE_S - 1

    def test_claims_of_long_ago_are_removed(self, take: Take, layout: JobLayout) -> None:
        for _ in range(130):
            take()[0].release()
        assert len(list(layout.epochs.iterdir())) <= 101
        assert take()[0].record.epoch == 131


def _claimed_by(layout: JobLayout, who: str) -> None:
    layout.epochs.mkdir()
    layout.claim(1).symlink_to(who)


def _waited_s(take: Take, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return how long the next attempt waits for a claim that comes to nothing."""
    clock = Clock(lambda _now: None)
    monkeypatch.setattr(claims, "time", clock)
    assert take()[0].record.epoch == 2
    return clock.now - clock.began


class TestFence:
    """A holder that another attempt has taken the job from."""

    def test_holding_it_raises_nothing(self, take: Take) -> None:
        held, _ = take()
        held.check()
        held.beat()

    def test_another_attempt_with_the_same_epoch_stops_it(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        layout.lock.write_bytes(encode(msgspec.structs.replace(ELSEWHERE, epoch=held.record.epoch)))
        with pytest.raises(FencedError, match="node17"):
            held.check()

    def test_a_higher_epoch_stops_it_and_says_whose(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        layout.lock.write_bytes(encode(ELSEWHERE))
        for look in (held.check, held.beat):
            with pytest.raises(FencedError, match=r"epoch 7 on node17, pid 4321"):
                look()

    def test_it_does_not_beat_for_the_one_that_took_over(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        layout.lock.write_bytes(encode(ELSEWHERE))
        set_heartbeat(layout, 1000)
        with pytest.raises(FencedError):
            held.beat()
        assert layout.lock.stat().st_mtime == 1000

    def test_a_lock_file_that_was_replaced_stops_it(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        other = layout.root / "other"
        other.write_bytes(layout.lock.read_bytes())
        other.rename(layout.lock)
        with pytest.raises(FencedError, match="taken over job count-1"):
            held.check()

    def test_a_lock_file_that_is_gone_stops_it(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        layout.lock.unlink()
        with pytest.raises(FencedError, match="is gone"):
            held.beat()

    def test_a_lock_that_is_just_being_written_does_not_stop_it(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        layout.lock.write_bytes(b"")
        held.check()

    def test_its_release_leaves_the_new_holders_record_alone(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        layout.lock.write_bytes(encode(ELSEWHERE))
        held.release()
        assert layout.lock.read_bytes() == encode(ELSEWHERE)

    def test_commit_and_state_are_fenced(self, opened: Any, commit: Any, layout: JobLayout) -> None:
        store = opened()
        commit(store)
        layout.lock.write_bytes(encode(ELSEWHERE))
        with pytest.raises(FencedError):
            commit(store)
        assert layout.generation_numbers() == [1]
        assert layout.partials() == []


class TestUpkeep:
    """A job that is held by dmtcp-ctl, which is no attempt."""

    def test_the_last_holders_record_and_heartbeat_stay(self, take: Take, layout: JobLayout) -> None:
        held, _ = take()
        abandon(held)
        gone = msgspec.structs.replace(held.record, pid_started=1.0)
        write(layout, gone, 1000)
        beat = layout.lock.stat().st_mtime_ns
        with hold_for_maintenance(layout) as upkeep:
            upkeep.check()
        assert layout.lock.read_bytes() == encode(gone)
        assert layout.lock.stat().st_mtime_ns == beat
        assert take()[0].record.epoch == 2

    def test_an_attempt_is_refused_meanwhile_and_taken_after(self, take: Take, layout: JobLayout) -> None:
        take()[0].release()
        with hold_for_maintenance(layout), pytest.raises(LockedError):
            take()
        assert take()[0].record.epoch == 2

    def test_a_job_that_runs_here_is_refused(self, take: Take, layout: JobLayout) -> None:
        take()
        with pytest.raises(LockedError, match=f"as pid {os.getpid()}"), hold_for_maintenance(layout):
            pytest.fail("it was held")

    def test_a_job_that_runs_elsewhere_is_refused(self, take: Take, layout: JobLayout) -> None:
        assert take
        write(layout, ELSEWHERE)
        with pytest.raises(LockedError, match="node17 as pid 4321"), hold_for_maintenance(layout):
            pytest.fail("it was held")

    def test_a_job_that_ran_elsewhere_until_its_heartbeat_stopped_is_held(self, take: Take, layout: JobLayout) -> None:
        assert take
        write(layout, ELSEWHERE, STALE_S + 1)
        with hold_for_maintenance(layout):
            assert layout.lock.read_bytes() == encode(ELSEWHERE)


def test_waiting_takes_real_time_and_ends(take: Take, layout: JobLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "STALE_S", 0.4)
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.1)
    write(layout, ELSEWHERE)
    began = time.monotonic()
    take(say=lambda _text: None)
    assert 0.3 <= time.monotonic() - began < LONG_S
