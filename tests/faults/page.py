"""The page of what users can rely on, written from the figures of the campaigns in docs/faults.json.

Figures of several runs add up where the code of the package was the same and no seed came
twice; otherwise a run takes the place of what was there.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

from faults.figures import End
from kit.places import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faults.figures import Trial

FIGURES = REPOSITORY / "docs/faults.json"
PAGE = REPOSITORY / "docs/reliability.md"
_SENTENCES = {
    "kills": (
        "Kills",
        (
            "dmtcp-run, any process below it, or all of them may be killed at any moment: the same line ends with the "
            "output and the files of an uninterrupted run, and nothing is left over."
        ),
    ),
    "power": (
        "Power cuts",
        (
            "When the power of the disk is cut, each generation that `dmtcp-ctl list` shows afterwards is whole, and "
            "none is missing that dmtcp-run had reported as committed. One in ten of the cuts was followed by a "
            "resume: the program's output was exact, and where its last changes to files by name came twice, a "
            "warning said so (those count as detected)."
        ),
    ),
    "sealed": (
        "Power cuts while generations are sealed",
        (
            "When the power of the disk is cut while generations are committed, compressed with what they share, and "
            "pruned, each that was committed is there, with the content that was committed, and the next attempt goes "
            "on sealing."
        ),
    ),
    "full": (
        "Full disks",
        (
            "When the disk with the job, the quota on it, or the disk with temporary files is full for some seconds, "
            "the program goes on, what was committed stays whole, and the space is used again once it is free."
        ),
    ),
    "calls": (
        "Failing system calls",
        (
            "Each call with which a commit, pruning, the lock, records or the restoring of files change the disk may "
            "fail (EIO, ENOSPC, EDQUOT, EINTR, ESTALE, a short write), or dmtcp-run may die in it: afterwards, earlier "
            "generations are whole, and the same line goes on with the right files."
        ),
    ),
    "corruption": (
        "Damaged generations",
        (
            "A generation whose images or manifest are damaged, cut, swapped or missing is found out before the "
            "program runs, and the one before is used."
        ),
    ),
    "lists": (
        "Damaged records of changed files",
        "A damaged record of what the program did to files is found out before anything is undone by it.",
    ),
    "nodes": (
        "Several nodes",
        (
            "Of a computation on two nodes under DMTCP either node may die, and the network between them may stop for "
            "up to five minutes: the job ends with the output of an uninterrupted run, from its newest generation "
            "where the computation was lost."
        ),
    ),
    "clocks": (
        "Clocks",
        (
            "The clock of a host may jump by hours, differ by hours from the file server's and from that of the host "
            "on which the job goes on, and the machine may be suspended: the output is that of an uninterrupted run, "
            "and checkpoints go on."
        ),
    ),
    "hangs": (
        "Hangs",
        (
            "When a checkpoint or a restart never ends, the processes that are stuck are named, the last generation is "
            "resumed, and the job ends with the right output. After three such checkpoints in a row it goes on without."
        ),
    ),
    "fuzz": (
        "Random content",
        (
            "Random content of records, the lock, the history, requests, lists of changes, configuration, answers of "
            "Slurm, durations and names is refused with an error that says what to do, or passed over: never a "
            "traceback or a hang."
        ),
    ),
    "copies": (
        "Two copies",
        (
            "Of two copies of a job, on one host or on two, one runs and the other stops with status 11, also where "
            "the hosts do not see each other's locks or the file system has none (ENOLCK), and their output is not "
            "mixed. A copy that was frozen with its host, and wakes after another took over, is stopped; the other "
            "goes back to where it began, as the first may have written for a moment (those count as detected)."
        ),
    ),
    "nfs": (
        "Two copies on NFS",
        (
            "The same on NFS, served and mounted by the kernel: NFS 4, and NFS 3 with lockd or with locks that each "
            "host keeps to itself (`nolock`, `local_lock`)."
        ),
    ),
}
_HEAD = """# What you can rely on

Campaigns try to break the promises of dmtcp-py. The figures here are theirs: `make faults` runs them and writes this
page. *Survived* means that all was as if nothing had happened; *detected*, that dmtcp-run said what was wrong and used
what was committed before, or nothing; *wrong*, that a result, a committed generation or a file was not what it should
have been, without a word. The last column names the state of `dmtcp_py` that was tried (`git rev-parse
COMMIT:dmtcp_py`): figures of several runs add up only if it was the same, with other seeds. It is empty for figures
from before that was noted.
"""
_TAIL = """
Other users of a machine can do nothing with your jobs: [shared nodes](security.md#shared-nodes). What a restart keeps
of a process is in [the table of state](state.md).
"""


def add(campaign: str, engine: str, seeds: range, trials: Iterable[Trial]) -> None:
    """Add the figures of a CAMPAIGN on ENGINE with SEEDS to those of the same code, or put them in their place."""
    counts, kinds = Counter[str](), Counter[str]()
    for trial in trials:
        counts[trial.end.value] += 1
        kinds[trial.kind] += 1
    if not counts:
        return
    row = {
        "code": _code(),
        "seeds": [[seeds.start, seeds.stop]],
        "tried": counts.total(),
        **{end.value: counts[end.value] for end in End},
        "kinds": dict(kinds),
    }
    with FIGURES.open("a") as held:
        # campaigns may run at the same time
        fcntl.flock(held, fcntl.LOCK_EX)
        figures = _read()
        by_engine = figures.setdefault(campaign, {})
        by_engine[engine] = together(by_engine.get(engine, {}), row)
        FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def together(before: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return ROW with the figures BEFORE, if those are of the same code and of other seeds."""
    is_same = row["code"] != "" and before.get("code") == row["code"]
    ranges = [range(*both) for both in before.get("seeds", ())]
    ((start, stop),) = row["seeds"]
    if not is_same or any(start < other.stop and other.start < stop for other in ranges):
        return row
    sums = {name: before[name] + row[name] for name in ("tried", *(end.value for end in End))}
    kinds = dict(Counter(before["kinds"]) + Counter(row["kinds"]))
    return {**row, **sums, "kinds": kinds, "seeds": sorted([*before["seeds"], *row["seeds"]])}


def _code() -> str:
    """Return what names the code that is tried, as git does; empty where it was changed since the last commit."""
    changed = _git("status", "--porcelain", "--", "dmtcp_py", "tests/faults", "tests/kit")
    return "" if changed else _git("rev-parse", "HEAD:dmtcp_py")[:10]


def _git(*words: str) -> str:
    argv = ["git", "-C", str(REPOSITORY), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def write() -> None:
    """Write the page."""
    figures = _read()
    sections = [_section(name, figures[name]) for name in _SENTENCES if name in figures]
    PAGE.write_text("\n".join([_HEAD, *sections]) + _TAIL)


def _section(name: str, by_engine: dict[str, Any]) -> str:
    title, sentence = _SENTENCES[name]
    lines = [
        f"## {title}",
        "",
        sentence,
        "",
        "| engine | tried | survived | detected | wrong | code |",
        "|---|---|---|---|---|---|",
    ]
    for engine, row in sorted(by_engine.items()):
        counts = [f"{row[name]:,}" for name in ("tried", *(end.value for end in End))]
        lines.append(f"| {' | '.join([engine or 'any', *counts, row.get('code', '')])} |")
    return "\n".join([*lines, ""])


def _read() -> dict[str, Any]:
    return json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
