"""Has each system call of a commit, of pruning, of the lock, of records and of the undo fail, or ends the process.

Run as a program with the C text of `kit.killed_at_each_call` loaded into it: ``SCENARIO FOLDER EACH FIRST``, for one in
EACH of the calls, from the FIRST on. Prints the number of faults that were come through, or fails with what is not as
it should be: what was committed verifies and is the same as before, and the next attempt goes on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.history import read_history
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.records import Cost, Host, ImageFile, Manifest, State, utc_now
from dmtcp_py.store.staged import stage
from dmtcp_py.store.store import Store, open_store, read_state
from dmtcp_py.store.verify import verify
from kit import killed_at_each_call
from kit.killed_at_each_call import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.store.staged import StagedImages

    Steps = tuple[Callable[[], object], Callable[[], None]]

KILL, TORN, SHORT = "killed before", "killed within", "a short write in"
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR", "ESTALE")
FAULTS = (KILL, TORN, SHORT, *ERRORS)
_RAISED, _TOLERATED, _NOT_REACHED = 3, 4, 5
_IMAGE = "ckpt_count.dmtcp"


class StoreLab:
    """A job's directory, with generations made without an engine; the image of each has its number in it."""

    def __init__(self, place: Path) -> None:
        self.layout = JobLayout(place / "jobs" / "count")
        self.store: Store | None = None

    def open(self) -> Store:
        """Hold the job as an attempt does; what held it in this process before lets go."""
        if self.store is not None:
            self.store.lock.release()
        self.store = open_store(self.layout, scheduler_job=None, say=_ignore, warn=_ignore)
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
        """Return the image of generation NUMBER."""
        return b"%d " % number * 5000

    def assert_whole(self, *needed: int) -> None:
        """Assert that the generations NEEDED are there, that all verify, and that the job goes on after a new start."""
        store = self.open()
        found = self.layout.generation_numbers()
        assert {*needed} <= {*found}, f"generations {found}, and not {needed}"
        for number in found:
            verify(self.layout, number)
            assert (self.layout.generation(number) / _IMAGE).read_bytes() == self.content(number)
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
    call.__name__: call for call in (a_commit, the_first_commit, pruning, the_first_attempt, the_next_attempt, records)
}
UNDO = {name: _of_lab(steps) for name, steps in killed_at_each_call.SCENARIOS.items()}


def faults(scenario: str, folder: Path, each: int, first: int) -> Iterator[tuple[int, str, str]]:
    """Yield each fault that was come through: the number of the call, the fault, and what came of it."""
    for fault in FAULTS:
        number, result = first, ""
        while result != "not reached":
            place = folder / f"{number}-{fault.replace(' ', '-')}"
            line, check = {**STORE, **UNDO}[scenario](place)
            result = _end_of(line, number, fault)
            try:
                check()
            except Exception as error:
                raise AssertionError(f"{fault} call {number}, which {result}: {error!r}") from error
            shutil.rmtree(place)
            if result != "not reached":
                yield number, fault, result
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
    sys.stdout.write(str(sum(1 for _ in faults(sys.argv[1], Path(sys.argv[2]), each, first))))
