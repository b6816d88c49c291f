"""The power of the disk is cut while a job takes checkpoints: what was committed is there, whole, and the job goes on.

A seed stands for one cut of the same run, see `faults.disk`.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.rollback.parts import BOOT
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.verify import verify
from faults.disk import LoggedDisk, mounted
from faults.figures import End, Trial
from kit.bench import Workbench, counted
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kit.bench import Process

_DISK_BYTES = 768 << 20
_STEPS, _GENERATIONS = 150, 8
_NEAR = 40
_EACH_RESUMED = 10
LINE = ("-i", "1", "--job", "cut", "--stdout", "out.txt", "--stderr", "err.txt")


class _Run:
    """A run of a job on a disk with a log, and how long the log was at each of its commits."""

    def __init__(self, bench: Workbench, *, is_sealed: bool) -> None:
        self.bench = bench
        self.line = ("--seal", *LINE) if is_sealed else LINE
        self.disk = LoggedDisk(bench.folder, _DISK_BYTES)
        self.place = bench.folder / "mounted"
        self.base = bench.folder / "before"
        self.commits: list[tuple[int, int]] = []

    def carry_out(self) -> None:
        """Run the job until it has some generations, and kill it."""
        options = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-E", options, self.disk.content], check=True, timeout=LONG_S)
        subprocess.run(["cp", "--sparse=always", self.disk.content, self.base], check=True, timeout=LONG_S)
        with self.disk.opened() as device, mounted(device, self.place) as place:
            bench = self._bench_at(place)
            process = bench.start(*self.line, *self.program(bench), stderr=subprocess.PIPE)
            watcher = threading.Thread(target=self._watch, args=(process,))
            watcher.start()
            try:
                # a slow machine takes fewer until the program ends
                bench.wait_generations(_GENERATIONS, process)
            finally:
                kill_all(process)
                watcher.join(LONG_S)

    def program(self, bench: Workbench) -> list[str]:
        """Return a program whose output and whose file show whether anything is lost or done twice."""
        return bench.counting(_STEPS, ledger="ledger.txt")

    def _watch(self, process: Process) -> None:
        """Remember how long the log is when dmtcp-run says that a generation is committed: from then on it is so."""
        assert process.stderr is not None
        with process.stderr as said:
            for line in said:
                words = line.decode(errors="replace").split()
                if words[1:2] == ["generation"] and words[3:4] == ["committed"]:
                    self.commits.append((len(self.disk.log), int(words[2])))

    def _bench_at(self, place: Path) -> Workbench:
        (place / "work").mkdir(exist_ok=True)
        return Workbench(place / "work", self.bench.engine)

    def moment(self, chosen: random.Random) -> int:
        """Choose when the power is cut: at any time, or near a commit."""
        if chosen.random() < 0.5:
            return chosen.randrange(len(self.disk.log))
        near = chosen.choice(self.commits)[0] + chosen.randint(-_NEAR, _NEAR // 4)
        return min(max(near, 0), len(self.disk.log))

    def trial(self, seed: int, *, resumes: bool) -> Trial:
        """Cut the power as SEED says, and look at what is there; with RESUMES, run the job to its end."""
        chosen = random.Random(seed)
        moment = self.moment(chosen)
        # a name of its own: a loop device of the one before may still be there
        image = self.bench.folder / f"cut-{seed}"
        self.disk.cut(self.base, image, moment, chosen)
        kind = "looked at, and resumed" if resumes else "looked at"
        with mounted(image, self.place) as place:
            problem = self._problem(place, moment)
            end = End.WRONG if problem else End.SURVIVED
            if resumes and not problem:
                end, problem = self._resumed(place)
        image.unlink()
        return Trial(kind, end, f"seed {seed}, after {moment} of {len(self.disk.log)} writes: {problem}")

    def _problem(self, place: Path, moment: int) -> str:
        """Return what is wrong with the generations that are there; nothing if all is well."""
        layout = JobLayout(place / "work/.dmtcp-run/cut")
        found = layout.generation_numbers()
        said = max((number for at, number in self.commits if at <= moment), default=0)
        if said > max(found, default=0):
            return f"generation {said} was committed, and there are {found}"
        for number in found:
            try:
                verify(layout, number)
            except DmtcpRunError as error:
                return f"generation {number} of {found} is not whole: {error}"
        return ""

    def _resumed(self, place: Path) -> tuple[End, str]:
        """Run the same line to its end, on a machine that was booted since, and return how that ended."""
        bench = self._bench_at(place)
        with suppress(FileNotFoundError):
            boot = place / "work/.dmtcp-run/cut/undo" / BOOT
            boot.write_text(boot.read_text().partition("\n")[0] + "\nanother boot")
        done = bench.run(*self.line, *self.program(bench))
        if "the run before has finished" in done.stderr:
            # before the cut, on a slow machine: the same line starts it anew, as it should
            return End.SURVIVED, ""
        if done.returncode == 125 and "dmtcp-run: " in done.stderr and "bug" not in done.stderr:
            return End.DETECTED, ""
        if done.returncode != 0 or (bench.folder / "out.txt").read_bytes() != counted(_STEPS):
            return End.WRONG, f"it ended with {done.returncode}: {done.stderr}"
        steps = (bench.folder / "ledger.txt").read_text().split()
        if steps == [str(step) for step in range(1, _STEPS + 1)]:
            return End.SURVIVED, ""
        is_said = "the machine went down" in done.stderr or "was lost with the machine" in done.stderr
        return (End.DETECTED if is_said else End.WRONG), f"the file of its steps has {len(steps)} lines: {done.stderr}"


def campaign(bench: Workbench, seeds: Iterable[int], *, is_sealed: bool = False) -> Iterator[Trial]:
    """Run a job once, and cut the power of its disk once for each of SEEDS; one in ten of them is resumed."""
    run = _Run(bench, is_sealed=is_sealed)
    run.carry_out()
    for seed in seeds:
        yield run.trial(seed, resumes=seed % _EACH_RESUMED == 0)
    shutil.rmtree(run.place, ignore_errors=True)
