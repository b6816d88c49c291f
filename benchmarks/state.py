"""Measure what it costs to keep what engines forget of a process: the same program with and without that part.

Run it with ``make bench-state``; it needs a C compiler and some minutes. There are rows for each engine: the processor
time to fork a child that ends at once, and to make, write, rename and remove a file; and for a program of one thread
and of 100, what all processes of a job use for one more checkpoint, and for a resume until the program ends. With and
without are measured in turns. All values are processor time, which other load on the machine changes least, and of all
runs the least. "Without" is a copy of dmtcp_py without the plugin for DMTCP, and without the record and the comparison
for CRIU.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dmtcp_py

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = int(os.environ.get("RUNS", "5"))
CHECKPOINTS = 10
"""So many checkpoints are taken of a program that runs."""
BOUND_S = 600.0
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-state'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"
PROGRAM = r"""
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
static double used(int whose)
{
    struct rusage one;
    getrusage(whose, &one);
    return (one.ru_utime.tv_sec + one.ru_stime.tv_sec) * 1e6 + one.ru_utime.tv_usec + one.ru_stime.tv_usec;
}
static int make_file(void)
{
    int fd = open("one", O_WRONLY | O_CREAT, 0600), failed = write(fd, "some", 4) != 4;
    return close(fd) || rename("one", "two") || unlink("two") || failed;
}
static int make_child(void)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, &status, 0);
    return status;
}
static void *wait_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}
int main(int argc, char **argv)
{
    int times = atoi(argv[2]), failed = argc != 3;
    pthread_t thread;
    if (argv[1][0] == 't') {
        for (int i = 1; i < times; i++)
            failed |= pthread_create(&thread, NULL, wait_for_ever, NULL);
        close(open("ready", O_WRONLY | O_CREAT, 0600));
        while (access("stop", F_OK))
            usleep(10000);
        return failed;
    }
    double before = used(RUSAGE_SELF) + used(RUSAGE_CHILDREN);
    for (int i = 0; i < times; i++)
        failed |= argv[1][0] == 'c' ? make_child() : make_file();
    printf("%f\n", (used(RUSAGE_SELF) + used(RUSAGE_CHILDREN) - before) / times);
    return failed;
}
"""
WITHOUT_CRIU = """

def record_all(root, pids, images):
    record.write(images, {})


def main(words):
    pass
"""
LOOPS = {"children": ("a child forked, us", 3000), "files": ("a file made, renamed, removed, us", 10_000)}
THREADS = (1, 100)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("program.c").write_text(PROGRAM)
        subprocess.run(["cc", "-O2", "-pthread", "-o", "program", "program.c"], check=True, timeout=BOUND_S)
        plugin_alone()
        make_bare()
        print(f"{'':48}{'with':>10}{'without':>10}{'more':>8}")
        for engine in os.environ.get("ENGINES", "dmtcp criu").split():
            for what, (title, times) in LOOPS.items():
                pairs = [[loop(engine, what, times, bare=bare) for bare in (False, True)] for _ in range(RUNS)]
                mine, plain = (min(column) for column in zip(*pairs, strict=True))
                show(f"{engine:6}{title}", mine, plain, f"{100 * (mine / plain - 1):+.1f} %, at most 1 %")
            for count in THREADS:
                lives = [[live(engine, count, bare=bare) for bare in (False, True)] for _ in range(RUNS)]
                for column, (title, bound) in enumerate((("a checkpoint", 10), ("a resume", 20))):
                    mine, plain = (min(life[kind][column] for life in lives) for kind in (0, 1))
                    show(f"{engine:6}{title} of {count} threads, ms", mine, plain, f"at most {bound} ms more")


def plugin_alone() -> None:
    """Print what DMTCP's plugin uses in a process, by the threads that it has."""
    native = Path(next(iter(dmtcp_py.__path__))) / "native"
    sources = map(str, (Path(__file__).with_name("state_plugin.c"), native / "undone.c", *native.glob("state_*.c")))
    compiler = ["cc", "-O2", "-pthread", "-w", "-I", str(native), "-o", "alone", *sources, "-ldl"]
    subprocess.run(compiler, check=True, timeout=BOUND_S)
    for count in THREADS:
        runs = [
            subprocess.run(["./alone", str(count)], check=True, capture_output=True, text=True, timeout=BOUND_S)
            for _ in range(RUNS)
        ]
        checkpoint_ms, restart_ms = (min(column) for column in zip(*(numbers(run.stdout) for run in runs), strict=True))
        print(
            f"the plugin for DMTCP, {count} threads: {checkpoint_ms:.1f} ms a checkpoint, {restart_ms:.1f} ms a resume"
        )


def numbers(text: str) -> list[float]:
    """Return the numbers in TEXT."""
    return list(map(float, text.split()))


def show(title: str, mine: float, plain: float, note: str) -> None:
    """Print one row."""
    print(f"{title:48}{mine:10.1f}{plain:10.1f}{mine - plain:8.1f}  {note}", flush=True)


def make_bare() -> None:
    """Make a copy of dmtcp_py without what is measured."""
    source = next(iter(dmtcp_py.__path__))
    shutil.copytree(source, "bare/dmtcp_py", ignore=shutil.ignore_patterns("__pycache__", "state.*so"))
    attributes = Path("bare/dmtcp_py/engine/criu/inside/attributes.py")
    attributes.write_text(attributes.read_text() + WITHOUT_CRIU)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "bare"], check=True, timeout=BOUND_S)


def environ_of(*, bare: bool) -> dict[str, str]:
    """Return the environment of a line with or without what is measured."""
    return {**os.environ, "PYTHONPATH": str(Path("bare").resolve())} if bare else dict(os.environ)


def loop(engine: str, what: str, times: int, *, bare: bool) -> float:
    """Return the microseconds of processor time for one of what is done so many TIMES."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        done = subprocess.run(
            [RUN, "-q", "--engine", engine, "-i", "0", str(Path("program").resolve()), what, str(times)],
            cwd=folder,
            env=environ_of(bare=bare),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{engine} cannot be measured here: {done.stderr}")
    return float(done.stdout)


def live(engine: str, threads: int, *, bare: bool) -> tuple[float, float]:
    """Return the milliseconds of processor time for a checkpoint, and a resume, of a program with so many THREADS."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder, environ = Path(name), environ_of(bare=bare)
        plain, many = (life(engine, threads, folder / f"{count}", environ, count) for count in (1, 1 + CHECKPOINTS))
        folder = folder / "1"
        (folder / "stop").unlink()
        process = begin(engine, threads, folder, environ)
        ask_for_checkpoint(folder, environ)
        process.kill()
        process.wait(BOUND_S)
        (folder / "stop").touch()
        resume_s = processor_s(start(line_of(engine, threads), folder, environ), folder)
    return (many - plain) / CHECKPOINTS * 1e3, resume_s * 1e3


def life(engine: str, threads: int, folder: Path, environ: dict[str, str], checkpoints: int) -> float:
    """Return the seconds of processor time of a whole run with so many CHECKPOINTS."""
    folder.mkdir()
    process = begin(engine, threads, folder, environ)
    for _ in range(checkpoints):
        ask_for_checkpoint(folder, environ)
    (folder / "stop").touch()
    return processor_s(process, folder)


def line_of(engine: str, threads: int) -> list[str]:
    """Return the line to type."""
    options = ["--engine", engine, "--job", "one", "-i", "0", "--json"]
    return [RUN, *options, str(Path("program").resolve()), "threads", str(threads)]


def begin(engine: str, threads: int, folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the program, and wait until it has all its threads."""
    (folder / "ready").unlink(missing_ok=True)
    process = start(line_of(engine, threads), folder, environ)
    wait_for((folder / "ready").exists, process, folder)
    return process


def ask_for_checkpoint(folder: Path, environ: dict[str, str]) -> None:
    """Have a checkpoint taken."""
    ask = [CTL, "checkpoint", "one"]
    subprocess.run(ask, cwd=folder, env=environ, check=True, capture_output=True, timeout=BOUND_S)


def processor_s(process: subprocess.Popen[bytes], folder: Path) -> float:
    """Wait for the end of PROCESS; return the processor time of it and of all that it waited for."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the program ended with {process.returncode}: {(folder / 'err').read_text()}")
    return used.ru_utime + used.ru_stime


def start(line: list[str], folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a line in FOLDER, with dmtcp-run's messages in a file there."""
    with (folder / "err").open("wb") as file:
        return subprocess.Popen(
            line, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file
        )


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for CONDITION, at most BOUND_S, while PROCESS lives."""
    until = time.monotonic() + BOUND_S
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"the program ended with {process.poll()}, or took too long: {(folder / 'err').read_text()}")
        time.sleep(0.002)


if __name__ == "__main__":
    main()
