"""One cell of the table, and all of them: each in a process of its own, several at a time."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from dmtcp_py.engine.quirks import QUIRKS
from kit.bench import Workbench
from kit.engines import find_criu, find_dmtcp, reaching, without_privileges
from kit.places import REPOSITORY
from kit.processes import descendants
from kit.programs import Places, Program, build
from zoo import finding
from zoo.finding import Finding
from zoo.life import Lives, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kit.engines import EngineHere

_PR_SET_CHILD_SUBREAPER = 36
_CELL_S = 1800
_TRIES = 3


class _Judge(Protocol):
    """The lives of a program on a bench."""

    def find(self) -> Finding:
        """Have it live, and return what came of it."""


@dataclass(frozen=True)
class Collection:
    """Programs that are measured on TERMS by ``python -m PACKAGE``, and the file with the RESULTS."""

    package: str
    programs: tuple[Program, ...]
    results: Path
    terms: Terms = Terms()  # noqa: RUF009 - frozen
    lives: Callable[..., _Judge] = Lives

    def program(self, name: str) -> Program:
        """Return the program NAME."""
        return next(program for program in self.programs if program.name == name)


def engines_here() -> list[EngineHere]:
    """Return the engines on this machine, each to be asked for by name: auto would take the other one."""
    dmtcp = [replace(engine, options=("--engine", "dmtcp")) for engine in find_dmtcp()]
    criu = find_criu()[0]
    return [*sorted(dmtcp, key=lambda engine: engine.version), *criu, *without_privileges(criu)]


def run(
    collection: Collection, cells: Sequence[tuple[Program, EngineHere]], workers: int
) -> Iterator[tuple[str, str, Finding]]:
    """Yield program, engine and what came of it, for each of CELLS, as they come to their ends."""
    with tempfile.TemporaryDirectory(prefix="zoo") as name:
        built = Path(name) / "built"
        built.mkdir()
        Path(name).chmod(0o755)
        why_not = build(list(dict.fromkeys(program for program, _ in cells)), built)
        with ThreadPoolExecutor(workers) as pool:
            ends = {
                pool.submit(in_a_process, collection, program, engine, built): (program.name, str(engine))
                for program, engine in cells
                if program.name not in why_not
            }
            for program, engine in cells:
                if program.name in why_not:
                    yield program.name, str(engine), Finding(finding.NOT_RUN, why_not[program.name])
            for end in as_completed(ends):
                yield (*ends[end], end.result())


def in_a_process(
    collection: Collection, program: Program, engine: EngineHere, built: Path, *, kills: int | None = None
) -> Finding:
    """Have one cell measured by a process that adopts, and ends, what is left behind; once, if KILLS are given."""
    words = [sys.executable, "-m", collection.package, "cell", program.name, str(engine), str(built)]
    words += [] if kills is None else ["--kills", str(kills)]
    path = f"{REPOSITORY / 'tests'}:{os.environ.get('PYTHONPATH', '')}"
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            said, _ = process.communicate(timeout=_CELL_S)
        except subprocess.TimeoutExpired:
            end_below(process.pid)
            process.kill()
            return Finding(finding.STUCK, f"not measured in {_CELL_S} s")
    if process.returncode:
        raise RuntimeError(f"{program.name} on {engine}: the measurement ended with {process.returncode}")
    return Finding(**json.loads(said))


def cell(collection: Collection, name: str, engine: EngineHere, built: Path, *, kills: int | None = None) -> Finding:
    """Measure program NAME on ENGINE, several times where it fails, and without each setting where it works.

    If KILLS are given, run it once, and kill it that often.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    program = collection.program(name)
    one = _Once(collection, program, engine, built)
    if kills is not None:
        return one.run(kills=kills)
    found = one.run()
    if found.state in finding.BROKEN:
        found = _again(found, [one.run() for _ in range(_TRIES - 1)])
    if found.state == finding.WRONG and one.run(kills=0).state == finding.WRONG:
        return replace(found, state=finding.DIFFERS)
    if found.state != finding.WORKS:
        return found
    settings = tuple(
        quirk.setting
        for quirk in QUIRKS
        if quirk.engine == engine.name and quirk.setting.startswith(program.quirks or ("-",))
        if one.run(without=quirk.setting).state != finding.WORKS
    )
    return replace(found, state=finding.NEEDS_SETTING, settings=settings) if settings else found


def _again(first: Finding, others: list[Finding]) -> Finding:
    """Return what is to be said of something that failed, and was tried again."""
    wrong = [found for found in others if found.state == finding.WRONG]
    if wrong:
        return wrong[0]
    failed = 1 + sum(found.state in finding.BROKEN for found in others)
    if failed == _TRIES:
        return first
    return replace(first, detail=f"{failed} of {_TRIES} times: {first.detail}")


@dataclass(frozen=True)
class _Once:
    """One run of a program, in a folder of its own, which leaves nothing behind."""

    collection: Collection
    program: Program
    engine: EngineHere
    built: Path

    def run(self, *, without: str = "", kills: int | None = None) -> Finding:
        """Run it, WITHOUT a setting, and kill it so often."""
        folder = Path(tempfile.mkdtemp(prefix="z"))
        terms = self.collection.terms
        terms = terms if kills is None else replace(terms, kills=kills)
        try:
            (folder / "work").mkdir()
            bench = Workbench(folder / "work", reaching(self.engine, self.built, folder))
            places = Places(self.built, folder, self.program.steps)
            return self.collection.lives(bench, self.program, places, terms, without).find()
        finally:
            end_below(os.getpid())
            if not os.environ.get("ZOO_KEEP"):
                shutil.rmtree(folder, ignore_errors=True)


def end_below(pid: int) -> None:
    """Kill all processes below PID, and those that they leave."""
    for _ in range(5):
        below = descendants(pid)
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=5)
        with suppress(ChildProcessError):
            while pid == os.getpid() and os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not below:
            return


def load(collection: Collection) -> dict[str, Any]:
    """Return what was measured until now."""
    path = collection.results
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"engines": [], "cells": {}}
    return found


def keep(collection: Collection, found: tuple[str, str, Finding]) -> None:
    """Put one cell into the results beside what others measure meanwhile; programs that are in the table no more go."""
    name, engine, of_cell = found
    results = load(collection)
    values = {key: value for key, value in asdict(of_cell).items() if value not in (None, "", (), [])}
    kernel = ".".join(platform.release().split(".")[:2])
    today = datetime.now(timezone.utc).date().isoformat()
    results["cells"].setdefault(name, {})[engine] = {**values, "date": today, "kernel": kernel}
    results["engines"] = sorted({engine for row in results["cells"].values() for engine in row}, key=_order)
    results["cells"] = {
        program.name: dict(sorted(results["cells"][program.name].items()))
        for program in collection.programs
        if program.name in results["cells"]
    }
    collection.results.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _order(engine: str) -> tuple[bool, str]:
    return not engine.startswith("dmtcp"), engine
