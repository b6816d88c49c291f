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
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from dmtcp_py.engine.quirks import QUIRKS
from kit.bench import Workbench
from kit.engines import EngineHere, find_criu, find_dmtcp
from kit.places import REPOSITORY
from kit.processes import descendants
from kit.program_list import BY_NAME, PROGRAMS
from kit.programs import Places, Program, build
from zoo import life
from zoo.life import Finding, Lives

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = REPOSITORY / "docs" / "zoo.json"
_PR_SET_CHILD_SUBREAPER = 36
_CELL_S = 1800
_TRIES = 3


def engines_here() -> list[EngineHere]:
    """Return the engines on this machine, each to be asked for by name: auto would take the other one."""
    dmtcp = [replace(engine, options=("--engine", "dmtcp")) for engine in find_dmtcp()]
    return [*sorted(dmtcp, key=lambda engine: engine.version), *find_criu()[0]]


def run(cells: Sequence[tuple[Program, EngineHere]], workers: int) -> Iterator[tuple[str, str, Finding]]:
    """Yield program, engine and what came of it, for each of CELLS, as they come to their ends."""
    with tempfile.TemporaryDirectory(prefix="zoo") as name:
        built = Path(name) / "built"
        built.mkdir()
        why_not = build(list(dict.fromkeys(program for program, _ in cells)), built)
        with ThreadPoolExecutor(workers) as pool:
            ends = {
                pool.submit(_in_a_process, program, engine, built): (program.name, str(engine))
                for program, engine in cells
                if program.name not in why_not
            }
            for program, engine in cells:
                if program.name in why_not:
                    yield program.name, str(engine), Finding(life.NOT_RUN, why_not[program.name])
            for end in as_completed(ends):
                yield (*ends[end], end.result())


def _in_a_process(program: Program, engine: EngineHere, built: Path) -> Finding:
    """Have one cell measured by a process that adopts, and ends, what is left behind."""
    words = [sys.executable, "-m", "zoo", "cell", program.name, str(engine), str(built)]
    path = f"{REPOSITORY / 'tests'}:{os.environ.get('PYTHONPATH', '')}"
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            said, _ = process.communicate(timeout=_CELL_S)
        except subprocess.TimeoutExpired:
            end_below(process.pid)
            process.kill()
            return Finding(life.FAILS, f"not measured in {_CELL_S} s")
    if process.returncode:
        raise RuntimeError(f"{program.name} on {engine}: the measurement ended with {process.returncode}")
    return Finding(**json.loads(said))


def cell(name: str, engine_name: str, built: Path) -> Finding:
    """Measure program NAME on an engine, several times where it fails, and without each setting where it works."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    program = BY_NAME[name]
    (engine,) = [engine for engine in engines_here() if str(engine) == engine_name]
    finding = one(program, engine, built)
    if finding.state == life.FAILS:
        finding = _again(finding, [one(program, engine, built) for _ in range(_TRIES - 1)])
    if finding.state == life.WRONG and one(program, engine, built, kills=0).state == life.WRONG:
        return replace(finding, state=life.DIFFERS)
    if finding.state != life.WORKS:
        return finding
    settings = tuple(
        quirk.setting
        for quirk in QUIRKS
        if quirk.engine == engine.name and quirk.setting.startswith(program.quirks or ("-",))
        if one(program, engine, built, without=quirk.setting).state != life.WORKS
    )
    return replace(finding, state=life.NEEDS_SETTING, settings=settings) if settings else finding


def _again(first: Finding, others: list[Finding]) -> Finding:
    """Return what is to be said of something that failed, and was tried again."""
    wrong = [finding for finding in others if finding.state == life.WRONG]
    if wrong:
        return wrong[0]
    failed = 1 + sum(finding.state == life.FAILS for finding in others)
    if failed == _TRIES:
        return first
    return replace(first, detail=f"{failed} of {_TRIES} times: {first.detail}")


def one(program: Program, engine: EngineHere, built: Path, *, without: str = "", kills: int = 2) -> Finding:
    """Run PROGRAM once in a folder of its own, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="z"))
    keep = os.environ.get("ZOO_KEEP")
    try:
        (folder / "work").mkdir()
        bench = Workbench(folder / "work", engine)
        return Lives(bench, program, Places(built, folder, program.steps), kills=kills, without=without).find()
    finally:
        end_below(os.getpid())
        if not keep:
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


def load(path: Path = RESULTS) -> dict[str, Any]:
    """Return what was measured until now."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"engines": [], "cells": {}}
    return found


def keep(results: dict[str, Any], found: tuple[str, str, Finding], path: Path = RESULTS) -> None:
    """Put one cell into RESULTS and write them; programs that are in the table no more go."""
    name, engine, finding = found
    values = {key: value for key, value in asdict(finding).items() if value not in (None, "", (), [])}
    kernel = ".".join(platform.release().split(".")[:2])
    today = datetime.now(timezone.utc).date().isoformat()
    results["cells"].setdefault(name, {})[engine] = {**values, "date": today, "kernel": kernel}
    results["engines"] = sorted({engine for row in results["cells"].values() for engine in row}, key=_order)
    results["cells"] = {
        program.name: dict(sorted(results["cells"][program.name].items()))
        for program in PROGRAMS
        if program.name in results["cells"]
    }
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _order(engine: str) -> tuple[bool, str]:
    return not engine.startswith("dmtcp"), engine
