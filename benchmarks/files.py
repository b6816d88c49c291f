"""Measure what a program pays for the record of its changes to files: the same program with and without the record.

Run it with ``make bench-files`` on an idle machine; it needs a C compiler and some minutes. There are three rows for
DMTCP (on PATH or in DMTCP_PREFIX) and for CRIU: the microseconds to open a file for reading; to open a file for append,
write to it and close it; and to make a file. Each value is the median of five runs, with and without in turns. It is
the program's own processor time, which other load on the machine changes least. "Without" is a copy of dmtcp_py without
the part that records.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import dmtcp_py

RUNS = 5
BOUND_S = 600.0
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-files'")
ROWS = {
    "read": ("opened for reading", 200_000, "at most 1 us more"),
    "append": ("opened for append, written, closed", 50_000, "at most 10 us more"),
    "make": ("made", 20_000, "at most 50 us more"),
}
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct timespec began, ended;
    int times = atoi(argv[2]), failed = argc != 3;
    close(open("there", O_WRONLY | O_CREAT, 0600));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    for (int i = 0; i < times; i++) {
        char name[32] = "there";
        int flags = O_RDONLY;
        if (argv[1][0] == 'a')
            flags = O_WRONLY | O_APPEND;
        if (argv[1][0] == 'm') {
            flags = O_WRONLY | O_CREAT | O_EXCL;
            sprintf(name, "made%d", i);
        }
        int fd = open(name, flags, 0600);
        failed |= fd < 0 || (argv[1][0] == 'a' && write(fd, "x\n", 2) != 2);
        close(fd);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    printf("%f\n", ((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / 1e3 / times);
    return failed;
}
"""


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("program.c").write_text(PROGRAM)
        subprocess.run(["cc", "-O2", "-o", "program", "program.c"], check=True, timeout=BOUND_S)
        source = next(iter(dmtcp_py.__path__))
        shutil.copytree(source, "bare/dmtcp_py", ignore=shutil.ignore_patterns("__pycache__", "files.*so"))
        print(f"{'':52}{'with, us':>10}{'without':>10}{'ratio':>8}{'more':>8}")
        for engine in ("dmtcp", "criu"):
            for what, (title, times, bound) in ROWS.items():
                pairs = [(measure(engine, what, times), measure(engine, what, times, bare=True)) for _ in range(RUNS)]
                noted, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(
                    f"{engine:6}{title:46}{noted:10.2f}{plain:10.2f}{noted / plain:8.2f}{noted - plain:8.2f}  {bound}",
                    flush=True,
                )


def measure(engine: str, what: str, times: int, *, bare: bool = False) -> float:
    """Return the microseconds for one operation WHAT, measured over so many TIMES."""
    environ = {**os.environ, "PYTHONPATH": str(Path("bare").resolve())} if bare else dict(os.environ)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        line = [RUN, "-q", "--engine", engine, "-i", "0", str(Path("program").resolve()), what, str(times)]
        done = subprocess.run(
            line,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{engine} cannot be measured here: {done.stderr}")
    return float(done.stdout)


if __name__ == "__main__":
    main()
