"""The commands of a collection of programs: ``run`` measures, ``page`` writes the documentation, ``cell`` is one."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kit.engines import EngineHere
    from zoo.measure import Collection


def main(
    collection: Collection,
    write_page: Callable[[], None],
    engines_here: Callable[[], Sequence[EngineHere]] = measure.engines_here,
) -> None:
    """Do what the command line says."""
    results, package = collection.results.name, collection.package
    parser = argparse.ArgumentParser(prog=package, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help=f"measure programs, and write docs/{results} and the page")
    run.add_argument("programs", nargs="*", help="parts of groups or names; all programs, if there is none")
    run.add_argument("--engine", action="append", help="part of an engine's name, as dmtcp-4.2; may be repeated")
    run.add_argument("--jobs", type=int, default=2, help="how many at a time")
    run.add_argument("--missing", action="store_true", help="only what was never measured")
    commands.add_parser("page", help=f"write the page from docs/{results}")
    one = commands.add_parser("cell", help="measure one program on one engine and print it")
    one.add_argument("program")
    one.add_argument("engine")
    one.add_argument("built", type=Path)
    one.add_argument("--kills", type=int, help="run it once, and kill it so often")
    words = parser.parse_args()
    if words.command == "cell":
        (engine,) = [engine for engine in engines_here() if str(engine) == words.engine]
        found = measure.cell(collection, words.program, engine, words.built, kills=words.kills)
        print(json.dumps(asdict(found)))
    elif words.command == "run":
        _run(collection, words, engines_here())
        write_page()
    else:
        write_page()


def _run(collection: Collection, words: argparse.Namespace, engines_here: Sequence[EngineHere]) -> None:
    wanted = words.programs or [""]
    programs = [
        program for program in collection.programs if any(part in f"{program.group}: {program.name}" for part in wanted)
    ]
    engines = [engine for engine in engines_here if any(part in str(engine) for part in words.engine or [""])]
    results = measure.load(collection)
    cells = [
        (program, engine)
        for program in programs
        for engine in engines
        if not (words.missing and str(engine) in results["cells"].get(program.name, {}))
    ]
    if not cells:
        sys.exit("there is nothing to run: no such program, or no such engine here")
    for found in measure.run(collection, cells, words.jobs):
        measure.keep(collection, found)
        print(f"{found[1]:14} {found[0]:40} {found[2].state} {found[2].detail}", flush=True)
