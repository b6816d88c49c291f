"""Measure what a program pays for the record of its changes to files: the same program with and without the record.

Run it with ``make bench-files`` on an idle machine; it needs a C compiler and some minutes. There are rows for DMTCP
(on PATH or in DMTCP_PREFIX) and for CRIU: the microseconds to open a file for reading; to open a file for append, write
to it and close it; to make a file; to write 64 bytes to a pipe, and to the end of a file; and to overwrite 4 KB in a
small file and in a large one, whose old content is kept once. Each value is the median of five runs, with and without
in turns. It is the program's own processor time, which other load on the machine changes least. "Without" is a copy of
dmtcp_py without the part that records.
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
    "pipe": ("pipe written", 500_000, "at most 0.3 us more"),
    "end": ("file written at its end", 500_000, "at most 0.5 us more"),
    "small": ("4 KB of a small file overwritten", 200_000, "at most 2 us more"),
    "large": ("4 KB of a large file overwritten", 100_000, "at most 10 us more"),
}
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct timespec began, ended;
    int times = atoi(argv[2]), failed = argc != 3;
    char block[4096] = "x";
    int there = open("there", O_WRONLY | O_CREAT, 0600), ends[2];
    ftruncate(there, argv[1][0] == 'l' ? 65 << 20 : argv[1][0] == 's' ? 1 << 20 : 0);
    close(there);
    failed |= pipe(ends);
    there = open("there", argv[1][0] == 'e' ? O_WRONLY : O_RDWR);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    if (strchr("pesl", argv[1][0])) {
        for (int i = 0; i < times; i++) {
            if (argv[1][0] == 'p')
                failed |= write(ends[1], block, 64) != 64 || read(ends[0], block, 64) != 64;
            else if (argv[1][0] == 'e')
                failed |= write(there, block, 64) != 64;
            else
                failed |= pwrite(there, block, 4096, (i * 7L % 250) * 4096) != 4096;
        }
        times = -times;
    }
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
    printf("%f\n", ((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / 1e3 / abs(times));
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
