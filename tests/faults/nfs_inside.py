"""Within the machine of `faults.nfs`: has two copies of a job on two mounts of an NFS export, and prints how they end.

Each copy has a host name, a boot and a mount of its own. ``python nfs_inside.py DMTCP-RUN COUNT-PROGRAM SEEDS``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

_STEPS = 30
_LIMIT_S = 900
_LOCKED = 11
WORKING, LYING, SERVED = "NFS 4 with its locks", "NFS 3 whose locks are each host's own", "NFS 3 with lockd"
_MOUNTS = {
    WORKING: ["nfs4", "vers=4.2", "127.0.0.1:/"],
    LYING: ["nfs", "vers=3,nolock,local_lock=all", "127.0.0.1:/mnt/export"],
    SERVED: ["nfs", "vers=3,lock", "127.0.0.1:/mnt/export"],
}
_PLACE = Path("/mnt/place")
_HOST = """
hostname "$1" && echo "$2" >/mnt/boot-$1 && mount --bind /mnt/boot-$1 /proc/sys/kernel/random/boot_id || exit 99
mount -t "$3" -o "retry=0,nosharecache,$4" "$5" /mnt/place || exit 98
cd "/mnt/place/$6" || exit 97
shift 6
exec "$@"
"""


def main() -> None:
    """Print a line for each trial: kind, nothing or what is wrong."""
    run, program = sys.argv[1:3]
    _PLACE.mkdir(exist_ok=True)
    for seed in map(int, sys.argv[3].split(",")):
        for storage in _MOUNTS:
            folder = Path("/mnt/export") / f"{seed}-{list(_MOUNTS).index(storage)}"
            folder.mkdir()
            for how in (_at_once, _while_it_runs):
                began = time.monotonic()
                problem = how(storage, folder, [run, sys.executable, program], random.Random(seed))
                kind = f"{'two at once' if how is _at_once else 'a second while the first runs'}, {storage}"
                text = " ".join(problem.split())
                sys.stdout.write(f"TRIAL\t{kind}\tseed {seed}, {time.monotonic() - began:.0f} s\t{text}\n")
                sys.stdout.flush()


def _start(storage: str, folder: Path, words: list[str], number: int, job: str) -> subprocess.Popen[bytes]:
    run, *program = words
    kind, options, source = _MOUNTS[storage]
    boot = f"00000000-0000-0000-0000-{number:012}"
    line = [run, "-i", "5", "--job", job, "--stdout", f"{job}.txt", *program, str(_STEPS), f"--ledger={job}-ledger.txt"]
    # the first of two in turn runs for as long as the second needs
    line += ["--until=go"] if job == "while" else []
    argv = ["unshare", "--mount", "--uts", "--", "/bin/sh", "-c", _HOST, "host", f"host{number}", boot]
    with Path(f"/mnt/said-{number}").open("wb") as said:
        environ = {**os.environ, "PATH": f"{Path(run).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.Popen([*argv, kind, options, source, folder.name, *line], stderr=said, env=environ)


def _at_once(storage: str, folder: Path, words: list[str], chosen: random.Random) -> str:
    copies = [_start(storage, folder, words, 0, "once")]
    time.sleep(chosen.choice([0, chosen.uniform(0, 1)]))
    copies.append(_start(storage, folder, words, 1, "once"))
    return _judged(folder, "once", [copy.wait(_LIMIT_S) for copy in copies])


def _while_it_runs(storage: str, folder: Path, words: list[str], _chosen: random.Random) -> str:
    copies = [_start(storage, folder, words, 0, "while")]
    until = time.monotonic() + _LIMIT_S
    while not (folder / "while.txt").exists() and copies[0].poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    copies.append(_start(storage, folder, words, 1, "while"))
    statuses = [copies[1].wait(_LIMIT_S)]
    (folder / "go").touch()
    return _judged(folder, "while", [copies[0].wait(_LIMIT_S), *statuses])


def _judged(folder: Path, job: str, statuses: list[int]) -> str:
    said = "".join(Path(f"/mnt/said-{number}").read_text() for number in (0, 1))
    if sorted(statuses) != [0, _LOCKED]:
        return f"they ended with {statuses}: {said}"
    steps = (folder / f"{job}-ledger.txt").read_text().split()
    numbers = [line.split()[0] for line in (folder / f"{job}.txt").read_text().splitlines()]
    wanted = [str(step) for step in range(1, _STEPS + 1)]
    return "" if steps == wanted and numbers == [*wanted, "done"] else f"the output is mixed: {numbers} {steps} {said}"


if __name__ == "__main__":
    main()
