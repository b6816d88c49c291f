"""Measure what --seal saves and costs, on images of a real program of which a tenth changes between two checkpoints.

Run it with ``make bench-seal`` on an idle machine; it needs DMTCP. Half of the program's memory is numpy arrays, half a
Python heap. Printed are the sizes of five generations beside three other ways of storing them, how fast they are
sealed at idle priority, and the time of a resume beside a bare dmtcp_restart that reads uncompressed images, both from
a cold cache. SIZE_MB is the first argument.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import xxhash

from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.seal import seal
from dmtcp_py.system.background import lower_priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GENERATIONS = 5
PAIRS = 5
BOUND_S = 600.0
BLOCK_BYTES = 4096
MB = 1e6
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-seal'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"
SILENT = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)

PROGRAM = """
import os, sys, time
import numpy
megabytes = int(sys.argv[1])
chosen = numpy.random.default_rng(1)
arrays = [numpy.cumsum(chosen.standard_normal(131072)) for _ in range(megabytes // 4)]
arrays += [numpy.round(chosen.standard_normal(131072), 3) for _ in range(megabytes // 4)]
heap = [
    {"id": one, "name": f"particle-{one}", "position": (one * 0.5, one / 3, one % 1000), "tags": [str(one % 7), "on"]}
    for one in range(megabytes * 500_000 // 700)
]
step = 0
while not os.path.exists("stop"):
    if os.path.exists("change"):
        step += 1
        for array in arrays[step % 10 :: 10]:
            array += chosen.standard_normal(array.size)
        tenth = len(heap) // 10
        for record in heap[step * tenth : (step + 1) * tenth]:
            record["position"] = (record["id"] * 0.25 + step, record["id"] / 7, step)
        os.unlink("change")
    with open("beat", "w") as file:
        file.write(str(time.time()))
    time.sleep(0.01)
"""


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["seal"]:
        seal_one(*sys.argv[2:])
        return
    megabytes = sys.argv[1] if len(sys.argv) > 1 else "500"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        program = [sys.executable, "-c", PROGRAM, megabytes]
        bare = make_bare_image(program)
        layout = make_generations(program)
        images = [max(layout.generation(one).iterdir(), key=_size) for one in layout.generation_numbers()]
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, image {_size(images[0]) / MB:.0f} MB\n")
        sizes(images, layout)
        resume(program, bare)


def make_bare_image(program: Sequence[str]) -> Path:
    """Return an uncompressed image that bare DMTCP makes of PROGRAM."""
    folder = Path("bare")
    folder.mkdir()
    options = ["--no-gzip", "--ckptdir", str(folder), "--coord-port", "0", "--port-file", "port"]
    process = subprocess.Popen(["dmtcp_launch", *options, *program], **SILENT)
    await_beat(time.time())
    subprocess.run(["dmtcp_command", "-p", Path("port").read_text(), "-bc"], check=True, timeout=BOUND_S, **SILENT)
    await_that(lambda: any(folder.glob("*.dmtcp")) and not any(folder.glob("*.temp")))
    end(process.pid)
    return next(folder.glob("*.dmtcp"))


def make_generations(program: Sequence[str]) -> JobLayout:
    """Run PROGRAM with dmtcp-run until it has five generations, as they are without --seal."""
    began = time.time()
    process = subprocess.Popen(line(program), **SILENT)
    await_beat(began)
    for number in range(GENERATIONS):
        if number:
            Path("change").touch()
            await_that(lambda: not Path("change").exists())
        subprocess.run([CTL, "checkpoint", "seal"], check=True, timeout=BOUND_S, **SILENT)
    end(process.pid)
    return JobLayout(Path(".dmtcp-run/seal"))


def line(program: Sequence[str]) -> list[str]:
    """Return the line that runs PROGRAM with dmtcp-run."""
    return [RUN, "--job", "seal", "--engine", "dmtcp", "-i", "0", "--keep", "9", *program]


def sizes(images: list[Path], layout: JobLayout) -> None:
    """Print what five generations take in each way of storing them, and how fast they are sealed."""
    raw = [_size(image) for image in images]
    gzipped = piped(["gzip", "-1", "-c"], images[0])
    rows = {
        "uncompressed": raw,
        "blocks shared as by reflinks": shared(images),
        "zstd -3, each alone": [piped(["zstd", "-q", "-3", "-c"], image) for image in images],
        "zstd -1, the one before as reference": [
            piped(["zstd", "-q", "-1", "-c", *reference], image)
            for reference, image in zip(
                [[], *(["--long=30", f"--patch-from={image}"] for image in images)], images, strict=False
            )
        ],
    }
    sealed, speeds = [], []
    for number in layout.generation_numbers():
        argv = [sys.executable, __file__, "seal", str(layout.root), str(number)]
        said = subprocess.run(argv, check=True, timeout=BOUND_S, capture_output=True, text=True).stdout
        stored, wall_s, cpu_s = map(float, said.split())
        sealed.append(stored)
        speeds.append((raw[number - 1] / MB / wall_s, 2 * raw[number - 1] / MB / cpu_s))
    rows["sealed"] = sealed
    print(f"{'':38}{'one, MB':>10}{'five, MB':>10}{'five/one':>10}{'one/gzip -1':>13}")
    for name, found in rows.items():
        one, five = found[0], sum(found)
        print(f"{name:38}{one / MB:10.0f}{five / MB:10.0f}{five / one:10.2f}{one / gzipped:13.2f}")
    print(f"\n{'sealing, at idle priority':38}{'MB/s':>10}{'MB/s if it had two processors':>32}")
    for name, some in (("the first generation", speeds[:1]), ("the next ones", speeds[1:])):
        walls, processors = zip(*some, strict=True)
        print(f"{name:38}{statistics.median(walls):10.0f}{statistics.median(processors):32.0f}")


def seal_one(root: str, number: str) -> None:
    """Seal generation NUMBER; print its bytes, and how long that took by the clock and by the processor's time."""
    lower_priority()
    began, wanted = time.monotonic(), int(number)
    done = seal(JobLayout(Path(root)), wanted, wanted - 1 or None, lambda: None)
    print(done.stored if done else 0, time.monotonic() - began, time.process_time())


def shared(images: Iterable[Path]) -> list[int]:
    """Return how many bytes of each image are in blocks that no earlier one has."""
    known: set[bytes] = set()
    found = []
    for image in images:
        before = len(known)
        with image.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                known.add(xxhash.xxh3_128_digest(block))
        found.append((len(known) - before) * BLOCK_BYTES)
    return found


def piped(argv: Sequence[str], image: Path) -> int:
    """Return how many bytes the command ARGV makes of IMAGE."""
    with subprocess.Popen([*argv, str(image)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        return sum(len(data) for data in iter(lambda: process.stdout.read(1 << 20), b""))


def resume(program: Sequence[str], image: Path) -> None:
    """Print how long a resume takes from the command to the running program, in turn with bare DMTCP's."""
    ours, theirs = [], []
    for _ in range(PAIRS):
        theirs.append(started(["dmtcp_restart", "--coord-port", "0", str(image)], [image]))
        files = [path for path in Path(".dmtcp-run/seal/generations").rglob("*") if path.is_file()]
        ours.append(started(line(program), files))
    mine, bare = statistics.median(ours), statistics.median(theirs)
    print(f"\n{'resume, cold, s':38}{'sealed':>10}{'bare raw':>10}{'ratio':>10}")
    print(f"{'':38}{mine:10.2f}{bare:10.2f}{mine / bare:10.2f}")


def started(argv: Sequence[str], files: Iterable[Path]) -> float:
    """Return how many seconds pass from the command ARGV, with FILES on the disk only, until the program runs."""
    os.sync()
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.time()
    process = subprocess.Popen(argv, **SILENT)
    await_beat(began)
    took_s = time.time() - began
    end(process.pid)
    return took_s


def await_beat(since: float) -> None:
    """Wait until the program has run after SINCE."""

    def has_beaten() -> bool:
        with suppress(FileNotFoundError, ValueError):
            return float(Path("beat").read_text()) > since
        return False

    await_that(has_beaten)


def await_that(condition: object) -> None:
    """Wait until CONDITION holds."""
    until = time.monotonic() + BOUND_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > until:
            sys.exit("the program does not run")
        time.sleep(0.005)


def end(pid: int) -> None:
    """Kill the process PID and all that it has started."""
    here = os.path.realpath(".")
    doomed = {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            # DMTCP's programs leave the process that started them
            if os.path.realpath(one.cwd()) == here and one.pid != os.getpid():
                doomed.add(one.pid)
    for one in doomed:
        with suppress(psutil.Error):
            psutil.Process(one).kill()
    with suppress(psutil.Error):
        psutil.wait_procs([psutil.Process(one) for one in doomed if psutil.pid_exists(one)], timeout=10)


def _size(path: Path) -> int:
    return path.stat().st_size


if __name__ == "__main__":
    main()
