"""Campaigns against the promises: ``python -m faults corruption -n 1000 --seed 0``; prints a table for each engine."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from faults.corruption import Found, campaign, make_generations, table
from kit.bench import Workbench
from kit.engines import EngineHere, find_criu, find_dmtcp


def main() -> None:
    """Do what the command line says; the status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("campaign", choices=["corruption"])
    parser.add_argument("-n", type=int, default=1000, help="how many faults for each engine")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--engine", default="", help="first words of an engine's name")
    words = parser.parse_args()
    engines = [one for one in (*find_dmtcp(), *find_criu()[0]) if str(one).startswith(words.engine)]
    sys.exit(max((_corrupt(one, range(words.seed, words.seed + words.n)) for one in engines), default="no such engine"))


def _corrupt(engine: EngineHere, seeds: range) -> int:
    folder = Path(tempfile.mkdtemp(prefix="dmtcp-run-faults-"))
    try:
        (folder / "work").mkdir()
        damages = list(campaign(make_generations(Workbench(folder / "work", engine)), seeds))
    finally:
        shutil.rmtree(folder)
    wrong = [damage for damage in damages if damage.found is Found.WRONG]
    print(engine, table(damages), *wrong, sep="\n", flush=True)
    return len(wrong) > 0


if __name__ == "__main__":
    main()
