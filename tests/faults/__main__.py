"""Campaigns against the promises: ``python -m faults run corruption -n 1000 --seed 0``; ``python -m faults page``.

Prints a table for each engine, adds the figures to docs/faults.json and writes docs/reliability.md from it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from faults import (
    calls,
    clocks,
    copies,
    corruption,
    full,
    fuzz,
    hangs,
    kills,
    lists,
    nfs,
    nodes,
    page,
    power,
    sealed_power,
    soak,
)
from faults.figures import Trial, table, wrong
from faults.leftovers import be_alone
from kit.bench import Workbench
from kit.engines import find_criu, find_dmtcp

OfFolder = Callable[[Path, Iterable[int]], Iterator[Trial]]
OfBench = Callable[[Workbench, Iterable[int]], Iterator[Trial]]
WITHOUT_ENGINE: dict[str, OfFolder] = {
    "calls": calls.campaign,
    "lists": lists.campaign,
    "sealed": sealed_power.campaign,
    "fuzz": fuzz.campaign,
}
WITH_ENGINE: dict[str, OfBench] = {
    "kills": kills.campaign,
    "power": power.campaign,
    "full": full.campaign,
    "corruption": corruption.campaign,
    "hangs": hangs.campaign,
    "copies": copies.campaign,
    "nfs": nfs.campaign,
    "nodes": nodes.campaign,
    "clocks": clocks.campaign,
    "soak": soak.campaign,
}


def main() -> None:
    """Do what the command line says; the status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("page", help="write docs/reliability.md from docs/faults.json")
    run = actions.add_parser("run", help="run campaigns")
    run.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help="which; all of them without")
    run.add_argument("-n", type=int, default=100, help="how many faults of each for each engine")
    run.add_argument("--seed", type=int, default=0, help="the first seed")
    run.add_argument("--engine", default="", help="first words of an engine's name")
    run.add_argument("--minutes", type=float, default=24 * 60, help="after so many, a campaign begins no other fault")
    words = parser.parse_args()
    if words.action == "page":
        page.write()
        return
    unknown = [name for name in words.campaigns if name not in {*WITHOUT_ENGINE, *WITH_ENGINE}]
    if unknown:
        parser.error(f"no campaign {unknown[0]}; there are {', '.join([*WITHOUT_ENGINE, *WITH_ENGINE])}")
    seeds = range(words.seed, words.seed + words.n)
    be_alone()
    names = words.campaigns or [*WITHOUT_ENGINE, *WITH_ENGINE]
    sys.exit(max(_run(name, words.engine, seeds, words.minutes) for name in names))


def _run(name: str, engine: str, seeds: range, minutes: float) -> int:
    """Run the campaign NAME on each ENGINE, or on none where it needs none; return 1 if anything was wrong."""
    if name in WITHOUT_ENGINE:
        return _run_one(name, "", lambda folder: WITHOUT_ENGINE[name](folder, seeds), seeds, minutes)
    engines = [one for one in (*find_dmtcp(), *find_criu()[0]) if str(one).startswith(engine)]
    runs = [(str(one), lambda folder, one=one: WITH_ENGINE[name](Workbench(folder, one), seeds)) for one in engines]
    return max((_run_one(name, engine, trials_in, seeds, minutes) for engine, trials_in in runs), default=0)


def _run_one(name: str, engine: str, trials_in: Callable[[Path], Iterator[Trial]], seeds: range, minutes: float) -> int:
    folder = Path(tempfile.mkdtemp(prefix="dmtcp-run-faults-"))
    try:
        (folder / "work").mkdir()
        trials = list(_told(trials_in(folder / "work"), minutes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{name} {engine}", table(trials), sep="\n", flush=True)
    page.add(name, engine, seeds, trials)
    page.write()
    return int(len(wrong(trials)) > 0)


def _told(trials: Iterator[Trial], minutes: float) -> Iterator[Trial]:
    """Yield TRIALS for so many MINUTES, and print each that is wrong at once: a campaign may take hours."""
    until = time.monotonic() + 60 * minutes
    for trial in trials:
        for line in wrong([trial]):
            sys.stderr.write(f"{line}\n")
        yield trial
        if time.monotonic() > until:
            return


if __name__ == "__main__":
    main()
