"""Measure what dmtcp-run costs beside bare DMTCP and bare CRIU: medians of pairs in turn, each with its bound.

Run it with ``make bench`` on an idle machine; it needs about ten minutes, and writes docs/benchmarks.json and .svg.
``make bench ROWS='start pause'`` measures only these, and writes nothing. DMTCP_PREFIX selects a DMTCP that is not on
PATH. Every printed number is measured now. A number beyond its bound does not make the benchmark fail.

Pauses and resumes are those of a program of real memory (numbers of which most bits are real, and objects of Python),
on a file system in memory, where the engine and not the disk is compared, and on the disk of TMPDIR.
"""

from __future__ import annotations

import os
import resource
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
from bare import BOUND_S, SILENT, checkpoint, launch, restart, wait_for
from results import Results

from dmtcp_py.engine.criu import trials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAIRS = int(os.environ.get("PAIRS", "5"))
SIZE_MB = os.environ.get("SIZE_MB", "1000")
WATCH_S = 60.0
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"
PYTHON = sys.executable

COMPUTE = """
import time
value = 1
for _ in range(30_000_000):
    value = (value * 1103515245 + 12345) & 0x7FFFFFFF
print(time.process_time())
"""
FORK = """
import os
for _ in range(100):
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/true", ["true"])
    os.waitpid(pid, 0)
print(sum(os.times()[:4]))
"""
OPEN = """
import os
for number in range(100_000):
    os.close(os.open(f"opened-{number % 1000}", os.O_RDWR | os.O_CREAT))
print(sum(os.times()[:4]))
"""
MESSAGES = """
import os, socket
there = socket.create_server(("127.0.0.1", 0))
pid = os.fork()
one = socket.create_connection(there.getsockname()) if pid == 0 else there.accept()[0]
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range(50_000):
    if pid == 0:
        one.sendall(one.recv(64))
    else:
        one.sendall(b"x" * 64)
        one.recv(64)
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
print(sum(os.times()[:4]))
"""
PAUSE = """
import os, sys, time
import numpy
size = int(sys.argv[2]) * 1_000_000
chance = numpy.random.default_rng(1)
numbers = [chance.standard_normal(size // 10 // 8).round(3) for _ in range(8)]
objects = [{"number": number, "text": f"item {number}"} for number in range(size // 5 // 400)]
open("ready", "w").close()
longest, before = 0.0, time.perf_counter()
while not os.path.exists(sys.argv[1]):
    now = time.perf_counter()
    longest, before = max(longest, now - before), now
    if os.path.exists("look"):
        os.unlink("look")
    time.sleep(0.001)
print(longest)
"""


def main() -> None:
    """Measure all rows, or those that ROWS names."""
    rows = {
        "start": lambda results: on_each_disk(results, start),
        "status": status,
        "compute": compute,
        "calls": calls,
        "pause": lambda results: on_each_disk(results, pauses),
        "resume": lambda results: on_each_disk(results, resumes),
        "criu": resume_under_criu,
        "supervisor": supervisor,
    }
    wanted = os.environ.get("ROWS", "").split()
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # criu restores a program only where its numbers are free, so that row is for those who ask for it
        for name in wanted or [name for name in rows if name != "criu"]:
            rows[name](results)
        os.chdir("/")
    if not wanted:
        results.write()


def start(results: Results, where: str) -> None:
    """Compare the start of a program that does nothing: with importing click three times, and bare DMTCP once."""
    click, name = [PYTHON, "-c", "import click"], f"start of true {where}"
    pairs = []
    for _ in range(PAIRS):
        ours, plain = timed([RUN, "-q", "--fresh", "true"]), timed(click)
        bare = timed(launch(["true"])[0])
        pairs.append((*ours, 3 * plain[0] + bare[0], 3 * plain[1] + bare[1]))
    wall, processor, wall_bound, processor_bound = map(statistics.median, zip(*pairs, strict=True))
    results.ratio(f"{name}, beside 3 imports of click + DMTCP", wall, wall_bound, PAIRS, bound=1.0)
    results.ratio(f"{name}, the same in processor time", processor, processor_bound, PAIRS, bound=1.0)


def status(results: Results) -> None:
    """Measure how long a look at all jobs takes."""
    subprocess.run([RUN, "-q", "--fresh", "true"], check=True, **SILENT)
    results.value("dmtcp-ctl status", median(lambda: timed([CTL, "status"])[0]), "s", PAIRS, bound=0.2)


def compute(results: Results) -> None:
    """Compare a program that only computes, in its processor time, which other load changes least."""
    ours, bare = both([PYTHON, "-c", COMPUTE])
    results.ratio("CPU-bound, no checkpoints, processor time", ours, bare, PAIRS, bound=1.005)


def calls(results: Results) -> None:
    """Compare programs of many calls that the plugins wrap, each in its processor time."""
    programs = {"100 forks and execs": FORK, "100,000 files opened": OPEN, "50,000 messages and answers": MESSAGES}
    for name, code in programs.items():
        ours, bare = both([PYTHON, "-c", code])
        results.ratio(f"{name}, processor time", ours, bare, PAIRS, bound=1.05)


def supervisor(results: Results) -> None:
    """Measure the supervisor while a program sleeps."""
    process = subprocess.Popen([RUN, "-q", "--fresh", "-i", "0", "sleep", str(WATCH_S + 30)], **SILENT)
    time.sleep(3)
    seen = psutil.Process(process.pid)
    before = seen.cpu_times()
    time.sleep(WATCH_S)
    after, memory = seen.cpu_times(), seen.memory_info().rss
    process.terminate()
    process.wait(BOUND_S)
    share = (after.user - before.user + after.system - before.system) / WATCH_S
    results.value("supervisor over a minute", share * 100, "% of a core", 1, bound=0.2)
    results.value("supervisor, resident", memory / 1e6, "MB", 1, bound=45)


def on_each_disk(results: Results, measure: Callable[[Results, str], None]) -> None:
    """Measure in memory and on the disk."""
    here = Path.cwd()
    for title, parent in (("in memory", "/dev/shm"), ("on disk", str(here))):
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            os.chdir(folder)
            measure(results, title)
            os.chdir(here)


def pauses(results: Results, where: str) -> None:
    """Compare the longest pause of a program at one checkpoint."""
    for gzip, name, bound in ((False, "--no-gzip", 1.02), (True, "default (gzip)", 0.12)):
        ours, bare = alternate(pause_of_ours, lambda gzip=gzip: pause_of_bare(gzip=gzip))
        results.ratio(f"pause {where}, beside {name}", ours, bare, PAIRS, bound=bound)


def resumes(results: Results, where: str) -> None:
    """Compare the time from the command to the running program, of images that are not compressed."""
    Path("ready").unlink(missing_ok=True)
    line = [RUN, "-q", "--job", "resume", "-i", "0", PYTHON, "-c", PAUSE, "stop", SIZE_MB]
    process = subprocess.Popen(line, **SILENT)
    wait_for(Path("ready").exists)
    subprocess.run([CTL, "checkpoint", "resume"], check=True, capture_output=True, timeout=BOUND_S)
    end(process)
    bare_line, address = launch([PYTHON, "-c", PAUSE, "stop", SIZE_MB])
    Path("ready").unlink()
    process = subprocess.Popen(bare_line, **SILENT)
    wait_for(Path("ready").exists)
    checkpoint(address)
    end(process)
    ours, bare = alternate(lambda: until_it_looks(line), lambda: until_it_looks(restart()))
    results.ratio(f"resume {where}, beside dmtcp_restart", ours, bare, PAIRS, bound=1.15)


def resume_under_criu(results: Results) -> None:
    """Compare the resume of a small program with ``criu restore`` as root, without dmtcp-run."""
    found = trials.find()
    if os.geteuid() or found.way is None or found.way.name != "as root":
        print("no resume under CRIU: it needs root, and a CRIU that works")
        return
    criu = str(found.installation.path)
    line = [RUN, "-q", "--engine", "criu", "--job", "criu", "-i", "0", PYTHON, "-c", PAUSE, "stop", "10"]
    for name in ("ready", "stop"):
        Path(name).unlink(missing_ok=True)
    process = subprocess.Popen(line, **SILENT)
    wait_for(Path("ready").exists)
    subprocess.run([CTL, "checkpoint", "criu"], check=True, capture_output=True, timeout=BOUND_S)
    end(process)
    Path("ready").unlink()
    Path("images").mkdir()
    process = subprocess.Popen(line[line.index(PYTHON) :], start_new_session=True, **SILENT)
    wait_for(Path("ready").exists)
    dump = [criu, "dump", "--tree", str(process.pid), "--images-dir", "images"]
    subprocess.run(dump, check=True, capture_output=True, timeout=BOUND_S)
    process.wait(BOUND_S)
    restore = [criu, "restore", "--images-dir", "images"]
    ours, bare = alternate(lambda: until_it_looks(line), lambda: until_it_looks(restore))
    results.more("resume under CRIU, beside criu restore", ours, bare, PAIRS, bound=0.5)


def until_it_looks(line: Sequence[str]) -> float:
    """Return the seconds until the program that LINE resumes does something, and end it."""
    Path("look").touch()
    began = time.perf_counter()
    process = subprocess.Popen(line, start_new_session=True, **SILENT)
    wait_for(lambda: not Path("look").exists())
    took_s = time.perf_counter() - began
    end(process)
    return took_s


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill PROCESS and all below it: what goes on for a moment would look for the resumed program."""
    # those below first, so that criu waits for what it restored, which keeps its number for the next restore
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(BOUND_S)


def pause_of_ours() -> float:
    """Return the pause under dmtcp-run."""
    argv = [RUN, "-q", "--job", "pause", "--fresh", "-i", "0", PYTHON, "-c", PAUSE, "stop", SIZE_MB]
    ask = [CTL, "checkpoint", "pause"]
    return paused(argv, lambda: subprocess.run(ask, check=True, capture_output=True, timeout=BOUND_S))


def pause_of_bare(*, gzip: bool) -> float:
    """Return the pause under dmtcp_launch and dmtcp_command."""
    argv, address = launch([PYTHON, "-c", PAUSE, "stop", SIZE_MB], gzip=gzip)
    return paused(argv, lambda: checkpoint(address))


def paused(argv: Sequence[str], take: Callable[[], object]) -> float:
    """Run a program that prints its longest pause, with one checkpoint in the middle."""
    for name in ("ready", "stop"):
        Path(name).unlink(missing_ok=True)
    process = subprocess.Popen(argv, **{**SILENT, "stdout": subprocess.PIPE}, text=True)
    wait_for(Path("ready").exists)
    # data that an earlier run still has to write must not slow this one
    os.sync()
    time.sleep(1)
    take()
    time.sleep(1)
    Path("stop").touch()
    return float(process.communicate(timeout=BOUND_S)[0])


def both(argv: Sequence[str]) -> tuple[float, float]:
    """Return the medians of what ARGV prints under dmtcp-run and under bare DMTCP."""
    ours = [RUN, "-q", "--fresh", "-i", "0", *argv]
    return alternate(lambda: float(output(ours)), lambda: float(output(launch(argv)[0])))


def alternate(ours: Callable[[], float], bare: Callable[[], float]) -> tuple[float, float]:
    """Return the medians of both, measured in turns, so that other load on the machine affects both."""
    pairs = [(ours(), bare()) for _ in range(PAIRS)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def median(measure: Callable[[], float]) -> float:
    """Return the median of what is measured."""
    return statistics.median(measure() for _ in range(PAIRS))


def timed(argv: Sequence[str]) -> tuple[float, float]:
    """Return the seconds that a command needs, and of how many a processor computed for it and what it waited for."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    output(argv)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor_s


def output(argv: Sequence[str]) -> str:
    """Return what a command prints."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
