"""Has each system call of a commit, of pruning, of the lock, of records and of the undo fail, or ends the process.

Run as a program with the C text of `kit.killed_at_each_call` loaded into it: ``SCENARIO FOLDER EACH FIRST``, for one in
EACH of the calls, from the FIRST on. Prints a line for each fault: what it was, and the line is empty then, or what is
not as it should be: what was committed verifies and is the same as before, and the next attempt goes on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.history import read_history
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.records import BatchRun, Cost, Host, ImageFile, Manifest, State, utc_now
from dmtcp_py.store.restorable import restorable
from dmtcp_py.store.retention import Verdict
from dmtcp_py.store.seal import finish, seal
from dmtcp_py.store.staged import stage
from dmtcp_py.store.store import Store, open_store, read_state
from dmtcp_py.store.verify import verify
from faults.figures import End, Trial
from kit import killed_at_each_call
from kit.killed_at_each_call import Lab
from kit.places import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dmtcp_py.store.staged import StagedImages

    Steps = tuple[Callable[[], object], Callable[[], None]]

KILL, TORN, SHORT = "killed before", "killed within", "a short write in"
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR", "ESTALE")
FAULTS = (KILL, TORN, SHORT, *ERRORS)
_RAISED, _TOLERATED, _NOT_REACHED = 3, 4, 5
_IMAGE = "ckpt_count.dmtcp"
_EACH = 20
LARGE = 300_000
"""Makes images that are sealed; smaller ones stay as they are."""


class StoreLab:
    """A job's directory, with generations made without an engine; the image of each has its number in it SIZE times."""

    def __init__(self, place: Path, size: int = 5000) -> None:
        self.size = size
        self.layout = JobLayout(place / "jobs" / "count")
        self.store: Store | None = None

    def open(self) -> Store:
        """Hold the job as an attempt does; what held it in this process before lets go."""
        if self.store is not None:
            self.store.lock.release()
        self.store = open_store(self.layout, batch=BatchRun(), say=_ignore, warn=_ignore)
        self.store.clean()
        return self.store

    def staged(self, store: Store, number: int) -> StagedImages:
        """Write images as an engine does."""
        folder = store.make_staging()
        (folder / _IMAGE).write_bytes(self.content(number))
        return stage(folder, [_IMAGE], processes=1)

    def commit(self, store: Store, staged: StagedImages) -> None:
        """Commit them."""
        store.commit(staged, lambda number, files: _manifest(number, store.epoch, files))

    def make(self, count: int) -> Store:
        """Return a store with COUNT generations."""
        store = self.open()
        for number in range(1, count + 1):
            self.commit(store, self.staged(store, number))
        return store

    def content(self, number: int) -> bytes:
        """Return the image of generation NUMBER; its last two thirds are in all generations."""
        return b"%d " % number * self.size + b"the same" * (self.size // 2)

    def shares(self, number: int) -> bool:
        """Return whether generation NUMBER has blocks of another."""
        return any(self.layout.generation(number).glob("sealed-*"))

    def seal(self, number: int, former: int | None = None) -> None:
        """Seal generation NUMBER as the process beside a program does."""
        finish(self.layout, number)
        seal(self.layout, number, former, lambda: None)

    def read(self, number: int) -> bytes:
        """Return the image of generation NUMBER as an engine would read it."""
        assert self.store is not None
        with restorable(self.layout, number, self.store.make_staging) as (_, folder):
            return (folder / _IMAGE).read_bytes()

    def assert_whole(self, *needed: int) -> None:
        """Assert that the generations NEEDED are there, that all verify, and that the job goes on after a new start."""
        store = self.open()
        found = self.layout.generation_numbers()
        assert {*needed} <= {*found}, f"generations {found}, and not {needed}"
        for number in found:
            verify(self.layout, number)
            assert self.read(number) == self.content(number)
        assert not self.layout.partials()
        before = store.next_number
        assert before > max(found, default=0)
        self.commit(store, self.staged(store, before))
        verify(self.layout, before)


def _ignore(_text: str) -> None:
    """Say nothing: only the disk is examined."""


def _manifest(number: int, epoch: int, files: list[ImageFile]) -> Manifest:
    return Manifest(
        generation=number,
        lineage=1,
        epoch=epoch,
        created=utc_now(),
        reason="interval",
        program_stopped=False,
        engine="dmtcp",
        engine_version="4.2.0",
        images=files,
        restart_images=[_IMAGE],
        processes=1,
        host=Host(name="here", kernel="6", machine="x86_64", libc="glibc 2"),
        cost=Cost(checkpoint_s=0.5),
    )


def a_commit(place: Path) -> Steps:
    lab = StoreLab(place)
    store = lab.make(2)
    staged = lab.staged(store, 3)
    return lambda: lab.commit(store, staged), lambda: lab.assert_whole(1, 2)


def the_first_commit(place: Path) -> Steps:
    lab = StoreLab(place)
    store = lab.make(0)
    staged = lab.staged(store, 1)
    return lambda: lab.commit(store, staged), lab.assert_whole


def pruning(place: Path) -> Steps:
    lab = StoreLab(place)
    store = lab.make(4)
    return lambda: store.prune(keep=2, lineage=1), lambda: lab.assert_whole(3, 4)


def sealing_the_first(place: Path) -> Steps:
    lab = StoreLab(place, LARGE)
    lab.make(1)

    def check() -> None:
        lab.assert_whole(1)
        assert not lab.layout.left_of_sealing()
        lab.seal(1)
        lab.assert_whole(1)
        assert not (lab.layout.generation(1) / _IMAGE).exists()

    return lambda: lab.seal(1), check


def sealing_the_next(place: Path) -> Steps:
    lab = StoreLab(place, LARGE)
    store = lab.make(3)
    lab.seal(1)
    lab.seal(2, 1)
    assert lab.shares(2)

    def check() -> None:
        lab.assert_whole(1, 2, 3)
        lab.seal(3, 2)
        for number in (1, 2):
            store.remove([Verdict(number, keep=False, rule="to show that the last has all that it needs")])
        lab.assert_whole(3)

    return lambda: lab.seal(3, 2), check


def pruning_sealed_ones(place: Path) -> Steps:
    lab = StoreLab(place, LARGE)
    store = lab.make(4)
    for number in range(1, 5):
        lab.seal(number, number - 1 or None)
    assert lab.shares(3)
    return lambda: store.prune(keep=2, lineage=1), lambda: lab.assert_whole(3, 4)


def the_first_attempt(place: Path) -> Steps:
    lab = StoreLab(place)
    return lab.open, lab.assert_whole


def the_next_attempt(place: Path) -> Steps:
    lab = StoreLab(place)
    before = lab.make(2)
    epoch = before.epoch
    # a child cannot release what its parent holds
    before.lock.release()
    lab.store = None

    def check() -> None:
        lab.assert_whole(1, 2)
        assert lab.store is not None
        assert lab.store.epoch > epoch

    return lab.open, check


def records(place: Path) -> Steps:
    lab = StoreLab(place)
    store = lab.make(1)
    state = State(lineage=1, epoch=store.epoch, phase="running", started=utc_now(), updated=utc_now())
    store.record("started", lineage=1)
    store.write_state(state, durable=True)

    def line() -> None:
        store.record("checkpointed", generation=1)
        store.write_state(state, durable=True)
        store.lock.beat()

    def check() -> None:
        lab.assert_whole(1)
        store.record("after")
        events = [event["event"] for event in read_history(lab.layout)]
        assert events[0] == "started"
        assert events[-1] == "after"
        assert read_state(lab.layout) == state

    return line, check


def _of_lab(steps: Callable[[Lab], Steps]) -> Callable[[Path], Steps]:
    return lambda place: steps(Lab(place))


STORE = {
    call.__name__: call
    for call in (
        a_commit,
        the_first_commit,
        pruning,
        sealing_the_first,
        sealing_the_next,
        pruning_sealed_ones,
        the_first_attempt,
        the_next_attempt,
        records,
    )
}
UNDO = {name: _of_lab(steps) for name, steps in killed_at_each_call.SCENARIOS.items()}


def campaign(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    """Have one call in 20 fail in each scenario for each of SEEDS; from 20 seeds on each call in each way."""
    for seed in [*seeds][:_EACH]:
        for scenario in (*STORE, *UNDO):
            yield from in_scenario(scenario, folder / f"{scenario}-{seed}", each=_EACH, first=seed % _EACH)


def in_scenario(scenario: str, folder: Path, *, each: int, first: int) -> Iterator[Trial]:
    """Run this module for a SCENARIO with the library that makes calls fail, and yield what it prints."""
    folder.mkdir()
    (folder / "killer.c").write_text(killed_at_each_call.C_TEXT)
    library = folder / "killer.so"
    subprocess.run(["cc", "-w", "-shared", "-fPIC", "-O1", "-o", library, folder / "killer.c"], check=True)
    environ = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(TESTS)}
    argv = [sys.executable, __file__, scenario, str(folder / "jobs"), str(each), str(first)]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            fault, number, result, problem = line.rstrip("\n").split("\t")
            end = End.WRONG if problem else End.DETECTED if result == "was reported" else End.SURVIVED
            yield Trial(f"{scenario.replace('_', ' ')}: {fault}", end, f"call {number} {result} {problem}")
    assert process.returncode == 0, f"{scenario}: the campaign itself failed"


def faults(scenario: str, folder: Path, each: int, first: int) -> Iterator[tuple[str, int, str, str]]:
    """Yield each fault: what it is, the number of the call, what came of it, and what is wrong afterwards."""
    for fault in FAULTS:
        number, result = first, ""
        while result != "not reached":
            place = folder / f"{number}-{fault.replace(' ', '-')}"
            line, check = {**STORE, **UNDO}[scenario](place)
            result = _end_of(line, number, fault)
            problem = ""
            try:
                check()
            except Exception as error:
                problem = " ".join(repr(error).split())
            shutil.rmtree(place)
            if problem or result != "not reached":
                yield fault, number, result, problem
            number += each


def _end_of(line: Callable[[], object], number: int, fault: str) -> str:
    """Do LINE in a child with a FAULT in its call NUMBER, and return what came of it."""
    library = ctypes.CDLL(None)
    pid = os.fork()
    if pid == 0:
        os._exit(_with_fault(library, line, number, fault))
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert (os.WTERMSIG(status), fault in (KILL, TORN)) == (signal.SIGKILL, True), "it crashed"
        return "killed it"
    results = {_RAISED: "was reported", _TOLERATED: "was tolerated", _NOT_REACHED: "not reached"}
    assert os.WEXITSTATUS(status) in results, "it failed with an error that nobody expects"
    return results[os.WEXITSTATUS(status)]


def _with_fault(library: ctypes.CDLL, line: Callable[[], object], number: int, fault: str) -> int:
    if fault in (KILL, TORN):
        library.kill_at(number, int(fault == TORN))
    else:
        library.fail_at(number, 0 if fault == SHORT else getattr(errno, fault))
    try:
        line()
    except (DmtcpRunError, OSError) as error:
        if library.was_reached():
            return _RAISED
        sys.stderr.write(f"without a fault: {error!r}\n")
        return 1
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        return 1
    return _TOLERATED if library.was_reached() else _NOT_REACHED


if __name__ == "__main__":
    each, first = (int(word) for word in sys.argv[3:5])
    for words in faults(sys.argv[1], Path(sys.argv[2]), each, first):
        sys.stdout.write("\t".join(map(str, words)) + "\n")
        sys.stdout.flush()
