"""Random programs: ``run`` many, the ``kinds`` of steps alone, one ``again`` by its steps; ``show`` the text of one.

``state`` runs each kind for docs/state.md, ``run --keep`` counts programs for it, and ``page`` writes it anew.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from kit.engines import EngineHere, find_criu, find_dmtcp, without_privileges
from kit.processes import descendants
from random_programs import counts, known, state_cells, state_page
from random_programs.campaign import Campaign, measure_kinds, table
from random_programs.generate import Program, Step, text
from random_programs.life import Outcome
from random_programs.plans import divided, held_plan, holding_plan

_PLAIN = "-without-privileges"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="random_programs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run many programs, and print a table")
    run.add_argument("-n", type=int, default=100, help="how many for each engine")
    run.add_argument("--seed", type=int, default=0, help="the first seed")
    run.add_argument("--reduce-s", type=float, default=120, help="seconds for finding the steps that matter")
    run.add_argument("--keep", action="store_true", help="count them in docs/random.json, and write the page")
    kinds = commands.add_parser("kinds", help="run each kind of step alone, and write known-wrong")
    kinds.add_argument("names", nargs="*", help="parts of names; all kinds, if there is none")
    state = commands.add_parser("state", help="run each kind of step, and write docs/state.json and the page")
    state.add_argument("names", nargs="*", help="as above")
    state.add_argument("--quick", action="store_true", help="do not tell apart what the engine keeps of itself")
    commands.add_parser("page", help="write docs/state.md from docs/state.json")
    again = commands.add_parser("again", help="run one program by its steps, as `run` prints them")
    again.add_argument("words", nargs="+")
    show = commands.add_parser("show", help="print the text of the program of a seed")
    show.add_argument("--seed", type=int, default=0)
    for one in (run, kinds, state, again, show):
        one.add_argument("--engine", action="append", help="first words of an engine's name; may be repeated")
        one.add_argument("--jobs", type=int, default=2, help="how many at a time")
        one.add_argument("--all", action="store_true", help="also kinds that are known to be wrong")
        one.add_argument("--within", type=Path, help="where the folders of programs are made")
    words = parser.parse_args()
    if words.command == "page":
        state_page.write()
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_all)
    campaigns = [
        Campaign(engine, has_all=words.all, reduce_s=getattr(words, "reduce_s", 0), within=words.within)
        for engine in _engines(words.engine or [""])
    ]
    sys.exit(
        {"run": _run, "kinds": _kinds, "state": _state, "again": _again, "show": _show}[words.command](words, campaigns)
    )


def _end_all(number: int, _frame: object) -> None:
    """End what was started, and this program as the signal would have."""
    for one in descendants(os.getpid()):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    os._exit(128 + number)


def _engines(names: list[str]) -> list[EngineHere]:
    criu = find_criu()[0]
    found = [*find_dmtcp(), *criu, *without_privileges(criu)]
    wanted = [engine for engine in found if any(_is_meant(str(engine), name) for name in names)]
    return wanted or sys.exit(f"no such engine here; there is {', '.join(map(str, found)) or 'none'}")


def _is_meant(engine: str, name: str) -> bool:
    """Return whether ENGINE begins with NAME; one without privileges has to be named so."""
    return engine.startswith(name) and engine.endswith(_PLAIN) == name.endswith(_PLAIN)


def _run(words: argparse.Namespace, campaigns: list[Campaign]) -> int:
    findings, at = [], counts.commit() if words.keep else ""
    for campaign in campaigns:
        for finding in campaign.findings(range(words.seed, words.seed + words.n), words.jobs):
            findings.append(finding)
            if words.keep:
                counts.keep(finding, at)
            print(finding, flush=True)
    bad = [finding for finding in findings if finding.result.is_bad]
    print("", table(findings), *bad, sep="\n")
    if words.keep:
        state_page.write()
    return len(bad) > 0


def _kinds(words: argparse.Namespace, campaigns: list[Campaign]) -> int:
    found, measured = [], set()
    for campaign in campaigns:
        for one, result in measure_kinds(campaign, words.names, words.jobs):
            measured.add((one.engine, one.kind))
            if result.outcome is not Outcome.RIGHT:
                print(one.engine, one.kind, result.outcome.value, result.detail, sep="\t", flush=True)
                found.append(one)
    known.write(found, measured)
    return 0


def _state(words: argparse.Namespace, campaigns: list[Campaign]) -> int:
    for campaign in campaigns:
        for cell in state_cells.measure(campaign, words.names, words.jobs, is_quick=words.quick):
            state_cells.keep(cell)
            print(cell.engine, cell.kind, cell.state, cell.detail, sep="\t", flush=True)
        state_page.write()
    return 0


def _again(words: argparse.Namespace, campaigns: list[Campaign]) -> int:
    language, *rest = words.words if len(words.words) > 1 else shlex.split(words.words[0])
    steps, moments = divided(rest)
    wanted = Program(tuple(map(Step.parse, steps)), language == "c")
    plan = held_plan(moments) if moments else holding_plan(wanted)
    results = [campaign.live(wanted, plan) for campaign in campaigns]
    for campaign, result in zip(campaigns, results, strict=True):
        print(campaign.engine, result.outcome.value, result.detail)
    return any(result.is_bad for result in results)


def _show(words: argparse.Namespace, campaigns: list[Campaign]) -> int:
    os.write(1, text(campaigns[0].program(words.seed)).encode())
    return 0


if __name__ == "__main__":
    main()
