"""Two copies of a job: one runs it, the other stops with status 11, and no output of the two is mixed.

They start at the same moment, or the second while the first runs, or it takes over from a first that is frozen, with
all of its processes, and wakes later. They are on one host, or on two that share storage whose locks the other does not
see, or that has none. On one host a frozen first is seen, and nothing takes over from it. Needs root for all but one
host's own disk.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from faults.figures import End, Trial
from faults.shared import NO_LOCKS, Shared, shared_by_two, storages
from kit.bench import Workbench, counted
from kit.processes import descendants
from kit.waits import LONG_S, happens, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kit.bench import Process

_STEPS, _MANY_STEPS = 20, 150
_LOCKED = 11
_LEAST_STALL_S = 30.0


class _Copies:
    """A bench on each of two hosts, or twice the same one."""

    def __init__(self, bench: Workbench, shared: Shared | None, hosts: tuple[int, int] = (0, 1)) -> None:
        self.seen = Workbench(shared.backing / "work" if shared else bench.folder, bench.engine)
        self.seen.folder.mkdir(exist_ok=True)
        self.shared, self.hosts = shared, hosts

    def start(self, number: int, steps: int) -> Process:
        """Start copy NUMBER of a job that counts its STEPS."""
        counting = self.seen.counting(steps, ledger="ledger.txt")
        options = ["-i", "1", "--job", "twice", "--stdout", "out.txt", "--stderr", "err.txt"]
        with (self.seen.folder.parent / f"said-{number}.txt").open("wb") as said:
            if self.shared is None:
                return self.seen.start(*options, *counting, stderr=said)
            return self.shared.hosts[self.hosts[number]].start(
                self.seen.line(*options, *counting),
                cwd=self.shared.place / "work",
                # the folder for temporary files is each host's own
                env={**self.seen.environ, "TMPDIR": "/tmp"},
                stderr=said,
            )

    def said(self) -> str:
        """Return what both have said."""
        return "\n".join(f"copy {number}: {self.seen.said(f'../said-{number}.txt')}" for number in (0, 1))

    def wrong_output(self, steps: int) -> str:
        """Return what is wrong with the output of a job that has counted its STEPS."""
        output = self.seen.folder / "out.txt"
        if not output.exists() or output.read_bytes() != counted(steps):
            return f"the output is another:\n{self.seen.said('out.txt')}\n{self.said()}"
        done = (self.seen.folder / "ledger.txt").read_text().split()
        if done != [str(step) for step in range(1, steps + 1)]:
            return f"the file of its steps is another: {done}\n{self.said()}"
        return ""


def _at_once(copies: _Copies, chosen: random.Random) -> str:
    """Start both within a tenth of a second."""
    first = copies.start(0, _STEPS)
    happens(lambda: False, chosen.choice([0, chosen.uniform(0, 0.1)]))
    second = copies.start(1, _STEPS)
    statuses = [process.wait(LONG_S) for process in (first, second)]
    if sorted(statuses) != [0, _LOCKED]:
        return f"they ended with {statuses}:\n{copies.said()}"
    return copies.wrong_output(_STEPS)


def _while_it_runs(copies: _Copies, chosen: random.Random) -> str:
    """Start the second once the first runs."""
    first = copies.start(0, _MANY_STEPS)
    copies.seen.wait_steps(chosen.randrange(1, _STEPS))
    second = copies.start(1, _MANY_STEPS)
    if (status := second.wait(LONG_S)) != _LOCKED:
        return f"the second ended with {status}:\n{copies.said()}"
    if (status := first.wait(LONG_S)) != 0:
        return f"the first ended with {status}:\n{copies.said()}"
    return copies.wrong_output(_MANY_STEPS)


def _frozen(copies: _Copies, chosen: random.Random) -> str:
    """Freeze all of the first, let the second take over, and wake the first while the second runs."""
    assert copies.shared is not None
    host = copies.shared.hosts[0]
    first = copies.start(0, _MANY_STEPS)
    copies.seen.wait_generations(1, first)
    happens(lambda: False, chosen.uniform(0, 2))
    # a file system that a host serves itself goes on
    frozen = [pid for pid in host.pids() if not _serves(pid)]
    _send(frozen, signal.SIGSTOP)
    second = copies.start(1, _MANY_STEPS)
    wait_until(lambda: "resumed generation" in copies.said() or second.poll() is not None)
    happens(lambda: False, chosen.uniform(0, 3))
    _send(frozen, signal.SIGCONT)
    return _one_has_taken_over(copies, first, second)


def _frozen_here(copies: _Copies, chosen: random.Random) -> str:
    """Freeze all of the first, start the second on the same host, and wake the first."""
    first = copies.start(0, _MANY_STEPS)
    copies.seen.wait_generations(1, first)
    happens(lambda: False, chosen.uniform(0, 2))
    frozen = [first.pid, *(one.pid for one in descendants(first.pid))]
    _send(frozen, signal.SIGSTOP)
    second = copies.start(1, _MANY_STEPS)
    status = second.wait(LONG_S)
    _send(frozen, signal.SIGCONT)
    if status != _LOCKED:
        return f"the second ended with {status}:\n{copies.said()}"
    if (status := first.wait(LONG_S)) != 0:
        return f"the first ended with {status}:\n{copies.said()}"
    return copies.wrong_output(_MANY_STEPS)


def _one_has_taken_over(copies: _Copies, first: Process, second: Process) -> str:
    if (status := first.wait(LONG_S)) != _LOCKED:
        return f"the first ended with {status}:\n{copies.said()}"
    if (status := second.wait(LONG_S)) != 0:
        return f"the second ended with {status}:\n{copies.said()}"
    return copies.wrong_output(_MANY_STEPS)


def _stalled(copies: _Copies, chosen: random.Random) -> str:
    """Have the storage of the first not answer for a while; nobody else wants the job."""
    first, server = _stalls(copies, chosen)
    happens(lambda: False, chosen.uniform(_LEAST_STALL_S, 2 * _LEAST_STALL_S))
    _send(server, signal.SIGCONT)
    if (status := first.wait(LONG_S)) != 0:
        return f"it ended with {status}:\n{copies.said()}"
    if "the program is paused" not in copies.said():
        return f"it was not paused:\n{copies.said()}"
    return copies.wrong_output(_MANY_STEPS)


def _parted(copies: _Copies, chosen: random.Random) -> str:
    """Have the storage of the first not answer until the second has taken over."""
    first, server = _stalls(copies, chosen)
    second = copies.start(1, _MANY_STEPS)
    wait_until(lambda: "resumed generation" in copies.said() or second.poll() is not None)
    _send(server, signal.SIGCONT)
    return _one_has_taken_over(copies, first, second)


def _stalls(copies: _Copies, chosen: random.Random) -> tuple[Process, list[int]]:
    """Start the first, and have its storage not answer; return the processes that serve it, too."""
    assert copies.shared is not None
    first = copies.start(0, _MANY_STEPS)
    copies.seen.wait_generations(1, first)
    happens(lambda: False, chosen.uniform(0, 2))
    server = [pid for pid in copies.shared.hosts[0].pids() if _serves(pid)]
    _send(server, signal.SIGSTOP)
    return first, server


def _serves(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("bindfs")
    return False


def _send(pids: Iterable[int], signum: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


AT_ONCE, WHILE, FROZEN = "two at once", "a second while the first runs", "a first that wakes after the second took over"
STALLED, PARTED = "storage that does not answer for a while", "a first whose storage answers once the second took over"
FROZEN_HERE = "a second while the first is frozen"
ONE_HOST, NO_LOCKS_HERE = "on one host", "on one host, FUSE that refuses locks (ENOLCK)"
_ON_ONE: dict[str, Callable[[_Copies, random.Random], str]] = {
    AT_ONCE: _at_once,
    WHILE: _while_it_runs,
    FROZEN_HERE: _frozen_here,
}
_ON_TWO: dict[str, Callable[[_Copies, random.Random], str]] = {
    AT_ONCE: _at_once,
    WHILE: _while_it_runs,
    FROZEN: _frozen,
    STALLED: _stalled,
    PARTED: _parted,
}


def kinds() -> list[tuple[str, str]]:
    """Return what can be tried here: what happens, and on what storage."""
    here = [ONE_HOST, NO_LOCKS_HERE] if NO_LOCKS in storages() else [ONE_HOST]
    return [
        *((how, storage) for storage in here for how in _ON_ONE),
        *((how, storage) for storage in storages() for how in _ON_TWO),
    ]


def campaign(bench: Workbench, seeds: Iterable[int], wanted: list[tuple[str, str]] | None = None) -> Iterator[Trial]:
    """Have two copies of a job for each of SEEDS, in each of the WANTED kinds in turn."""
    wanted = kinds() if wanted is None else wanted
    for seed in seeds:
        how, storage = wanted[seed % len(wanted)]
        folder = bench.folder / str(seed)
        end, detail = _end(bench, folder, how, storage, random.Random(seed))
        yield Trial(f"{how}, {storage}", end, f"seed {seed} {detail}")


def _end(bench: Workbench, folder: Path, how: str, storage: str, chosen: random.Random) -> tuple[End, str]:
    if storage == ONE_HOST:
        (folder / "work").mkdir(parents=True)
        return _carried_out(_Copies(Workbench(folder / "work", bench.engine), None), how, chosen)
    is_one_host = storage == NO_LOCKS_HERE
    with shared_by_two(folder, NO_LOCKS if is_one_host else storage) as shared:
        return _carried_out(_Copies(bench, shared, (0, 0) if is_one_host else (0, 1)), how, chosen)


def _carried_out(copies: _Copies, how: str, chosen: random.Random) -> tuple[End, str]:
    try:
        problem = {**_ON_ONE, **_ON_TWO}[how](copies, chosen)
    except AssertionError as error:
        problem = f"{error}\n{copies.said()}"
    finally:
        for process in copies.seen.started:
            process.kill()
    if problem:
        return End.WRONG, problem
    return (End.DETECTED if "was not dead" in copies.said() else End.SURVIVED), ""
