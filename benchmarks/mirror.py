"""Measure how fast a generation of 500 MB is copied to each kind of mirror, beside that protocol's own client.

Run it with ``make bench-mirror`` on an idle machine; it starts the servers of the tests. Every value is the median of
five copies, in which dmtcp-run and the client take turns. dmtcp-run's time is that of its process that copies, from
the moment at which it opens the first image until the manifest is there: every image is then verified. Memory is
the most that this process ever had. The client runs at the same low priority, and its time ends where dmtcp-run's
does: `cp` has the file on disk, `xrdcp` and `rclone` compare checksums, `sftp` does neither.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kit import servers

SIZE_MB = 500
RUNS = 5
BOUND_S = 600.0
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-mirror'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"
BIN = Path(RUN).parent
LOW_PRIORITY = ("nice", "-n", "19", "ionice", "-c", "3")
PROGRAM = """
import os, sys, time
memory = os.urandom(int(sys.argv[1]) * 1_000_000)
open("ready", "w").close()
while not os.path.exists("stop"):
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class Measured:
    """A copy by dmtcp-run: its speed in MB/s, and the memory of the process that copied, in MB."""

    speed: float
    memory_mb: float


def main() -> None:
    """Print a row for each kind of mirror."""
    print(f"{'':8}{'client MB/s':>13}{'dmtcp-run':>11}{'ratio':>7}{'memory MB':>11}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for kind in sys.argv[1:] or ("file", "sftp", "root", "s3"):
            if kind != "file" and (why := servers.missing(kind)):
                print(f"{kind:8}{why}")
                continue
            measure(kind, Path(folder, kind))


def measure(kind: str, folder: Path) -> None:
    """Print the row of one kind of mirror, with all files in FOLDER."""
    folder.mkdir()
    server = None if kind == "file" else servers.make(kind, folder / "server")
    url = f"file:{folder}/mirror" if server is None else server.url
    if server is not None:
        server.start()
    environ = {**os.environ, **(server.environ if server else {})}
    work = folder / "work"
    work.mkdir()
    line = [RUN, "-q", "--job", "job", "-i", "0", "--keep", "1", "--mirror", url]
    program = subprocess.Popen([*line, sys.executable, "-c", PROGRAM, str(SIZE_MB)], cwd=work, env=environ)
    try:
        wait_for((work / "ready").exists)
        ours, theirs = [], []
        for number in range(1, RUNS + 1):
            ours.append(copy_by_dmtcp_run(program.pid, work, environ, number))
            image = max((work / ".dmtcp-run/job/generations").rglob("*.*"), key=lambda path: path.stat().st_size)
            theirs.append(copy_by_client(kind, folder, server, image, environ))
    finally:
        (work / "stop").touch()
        program.wait(BOUND_S)
        if server is not None:
            server.stop()
    speed, client = statistics.median(one.speed for one in ours), statistics.median(theirs)
    memory = max(one.memory_mb for one in ours)
    print(f"{kind:8}{client:13.0f}{speed:11.0f}{speed / client:7.2f}{memory:11.0f}", flush=True)


def copy_by_dmtcp_run(pid: int, work: Path, environ: dict[str, str], number: int) -> Measured:
    """Take checkpoint NUMBER and return how fast it came to the mirror."""
    subprocess.run([CTL, "checkpoint", "job"], cwd=work, env=environ, check=True, capture_output=True, timeout=BOUND_S)
    history = work / ".dmtcp-run/job/history.jsonl"
    found: list[dict[str, float]] = []

    def is_copied() -> bool:
        lines = [json.loads(line) for line in history.read_text().splitlines()]
        found[:] = [one for one in lines if one["event"] == "mirrored" and one["generation"] == number]
        return bool(found)

    wait_for(is_copied)
    return Measured(found[0]["size"] / 1e6 / found[0]["seconds"], memory_of_copier(pid))


def memory_of_copier(pid: int) -> float:
    """Return the most memory that the process which copies for supervisor PID has had, in MB."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError, ValueError):
            text = status.read_text()
            if f"PPid:\t{pid}\n" in text and b"mirror.worker" in (status.parent / "cmdline").read_bytes():
                return int(text.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    sys.exit("the process that copies was not found")


def copy_by_client(
    kind: str, folder: Path, server: servers.Server | None, image: Path, environ: dict[str, str]
) -> float:
    """Return how fast the protocol's own client copies IMAGE, in MB/s."""
    given = None
    if server is None:
        argv = ["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(image), f"{folder}/copy"]
    elif kind == "sftp":
        argv = ["sftp", "-q", "-b", "-", "-S", f"{server.folder}/bin/ssh", "-P", str(server.port), "127.0.0.1"]
        given = f"put {image} {server.data}/copy\n".encode()
    elif kind == "root":
        argv = ["xrdcp", "-f", "-s", "--cksum", "adler32:source", str(image), f"{server.url}/copy"]
    else:
        remote = f':s3,provider=Other,env_auth=true,endpoint="{environ["AWS_ENDPOINT_URL"]}":bucket/mirror/copy'
        argv = [str(BIN / "rclone"), "--config", "/dev/null", "--ignore-times", "copyto", str(image), remote]
    began = time.monotonic()
    subprocess.run([*LOW_PRIORITY, *argv], input=given, env=environ, check=True, capture_output=True, timeout=BOUND_S)
    return image.stat().st_size / 1e6 / (time.monotonic() - began)


def wait_for(condition: object) -> None:
    """Wait for CONDITION, at most BOUND_S."""
    until = time.monotonic() + BOUND_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > until:
            sys.exit("it took too long")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
