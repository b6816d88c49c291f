"""The power of the disk is cut while generations are committed, sealed and pruned: what was committed is there, whole.

Needs no engine: the generations are those of `faults.calls`. A seed stands for one cut of the same run.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.verify import is_sealed, verify
from faults.calls import LARGE, StoreLab
from faults.disk import LoggedDisk, mounted
from faults.figures import End, Trial
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_DISK_BYTES = 128 << 20
_GENERATIONS = 5
_NEAR = 60


def campaign(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    """Commit, seal and prune once, and cut the power of the disk once for each of SEEDS."""
    disk, place, base = LoggedDisk(folder, _DISK_BYTES), folder / "mounted", folder / "before"
    options = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-E", options, disk.content], check=True, timeout=LONG_S)
    subprocess.run(["cp", "--sparse=always", disk.content, base], check=True, timeout=LONG_S)
    with disk.opened() as device, mounted(device, place) as mount:
        steps = _carry_out(mount, lambda: len(disk.log))
    for seed in seeds:
        chosen = random.Random(seed)
        moment = _moment(chosen, [at for at, _ in steps], len(disk.log))
        # a name of its own: a loop device of the one before may still be there
        image = folder / f"cut-{seed}"
        disk.cut(base, image, moment, chosen)
        needed = _needed(steps, moment)
        # as a machine does that boots: the superblock may be torn
        subprocess.run(["e2fsck", "-fy", image], check=False, timeout=LONG_S, capture_output=True)
        with mounted(image, place) as mount:
            problem, count = _problem(mount, needed)
        image.unlink()
        kind = f"{count} sealed"
        yield Trial(kind, End.WRONG if problem else End.SURVIVED, f"seed {seed}, after {moment} writes: {problem}")
    shutil.rmtree(place, ignore_errors=True)


def _carry_out(mount: Path, written: Callable[[], int]) -> list[tuple[int, set[int]]]:
    """Commit generations, seal each once the next is there, keep three; return what is there after each step."""
    lab = StoreLab(mount, LARGE)
    store = lab.open()
    steps: list[tuple[int, set[int]]] = [(0, set())]

    def note() -> None:
        steps.append((written(), {*lab.layout.generation_numbers()}))

    for number in range(1, _GENERATIONS + 1):
        lab.commit(store, lab.staged(store, number))
        note()
        lab.seal(number, number - 1 or None)
        note()
        store.prune(keep=3, lineage=1)
        note()
    assert lab.shares(_GENERATIONS)
    store.lock.release()
    return steps


def _moment(chosen: random.Random, ends: list[int], length: int) -> int:
    """Choose when the power is cut: at any time, or near the end of a step."""
    if chosen.random() < 0.5:
        return chosen.randrange(length)
    return min(max(chosen.choice(ends) + chosen.randint(-_NEAR, _NEAR), 0), length)


def _needed(steps: list[tuple[int, set[int]]], moment: int) -> set[int]:
    """Return the generations that are there before and after the step in which MOMENT is."""
    number = max(number for number, (at, _) in enumerate(steps) if at <= moment)
    return steps[number][1] & steps[min(number + 1, len(steps) - 1)][1]


def _problem(mount: Path, needed: set[int]) -> tuple[str, int]:
    """Return what is wrong with the generations that are there, nothing if all is well, and how many are sealed."""
    lab = StoreLab(mount, LARGE)
    found = lab.layout.generation_numbers()
    sealed = [number for number in found if is_sealed(lab.layout.generation(number))]
    if not needed <= {*found}:
        return f"generations {needed} were committed, and there are {found}", len(sealed)
    if not found:
        return "", 0
    try:
        for number in found:
            verify(lab.layout, number)
        store = lab.open()
        for number in found:
            if lab.read(number) != lab.content(number):
                return f"generation {number} is not what was committed", len(sealed)
        # the next attempt goes on where this one was cut off
        former = None
        for number in found:
            lab.seal(number, former)
            verify(lab.layout, number)
            former = number
        lab.commit(store, lab.staged(store, store.next_number))
        store.lock.release()
    except DmtcpRunError as error:
        return f"of {found}, of which {sealed} are sealed: {error}", len(sealed)
    return "", len(sealed)
