"""Two copies of a job on NFS, in a virtual machine with a kernel that serves and mounts it.

For NFS 4, NFS 3 with lockd, and NFS 3 whose locks each host keeps to itself, see `faults.nfs_inside`. A trial takes one
to three minutes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from faults import nfs_inside
from faults.figures import End, Trial
from kit.machine import run_with_nfs
from kit.places import PROGRAM_FILES, RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kit.bench import Workbench


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Have two copies of a job for each of SEEDS on each kind of NFS: at once, and the second while the first runs."""
    python = str(Path(RUN).with_name("python"))
    words = [python, nfs_inside.__file__, RUN, str(PROGRAM_FILES / "count.py"), ",".join(map(str, seeds))]
    for line in run_with_nfs(bench.folder, words, squash="no_root_squash"):
        kind, which, problem = line.split("\t")
        yield Trial(kind, End.WRONG if problem else End.SURVIVED, f"{which} {problem}")
