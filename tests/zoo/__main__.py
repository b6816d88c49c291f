"""The zoo's commands: ``run`` measures, ``page`` writes the documentation, ``cell`` is one measurement."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from kit.program_list import PROGRAMS
from zoo import measure, page


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure programs, and write docs/zoo.json and docs/programs.md")
    run.add_argument("programs", nargs="*", help="parts of groups or names; all programs, if there is none")
    run.add_argument("--engine", action="append", help="part of an engine's name, as dmtcp-4.2; may be repeated")
    run.add_argument("--jobs", type=int, default=2, help="how many at a time")
    run.add_argument("--missing", action="store_true", help="only what was never measured")
    commands.add_parser("page", help="write docs/programs.md from docs/zoo.json")
    one = commands.add_parser("cell", help="measure one program on one engine and print it")
    one.add_argument("program")
    one.add_argument("engine")
    one.add_argument("built", type=Path)
    words = parser.parse_args()
    if words.command == "cell":
        print(json.dumps(asdict(measure.cell(words.program, words.engine, words.built))))
    elif words.command == "run":
        _run(words)
    else:
        page.write()


def _run(words: argparse.Namespace) -> None:
    wanted = words.programs or [""]
    programs = [program for program in PROGRAMS if any(part in f"{program.group}: {program.name}" for part in wanted)]
    engines = [engine for engine in measure.engines_here() if any(part in str(engine) for part in words.engine or [""])]
    results = measure.load()
    cells = [
        (program, engine)
        for program in programs
        for engine in engines
        if not (words.missing and str(engine) in results["cells"].get(program.name, {}))
    ]
    if not cells:
        sys.exit("there is nothing to run: no such program, or no such engine here")
    for found in measure.run(cells, words.jobs):
        measure.keep(results, found)
        print(f"{found[1]:14} {found[0]:40} {found[2].state} {found[2].detail}", flush=True)
    page.write()


if __name__ == "__main__":
    main()
