"""Each warning of a resume is to be seen on a terminal, whichever engine made the generation."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from dmtcp_py.native import built
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.skipif(built("files") is None, reason="built without a C compiler")
APPENDS = """
import time
for step in range(600):
    with open("rows.txt", "a") as rows: rows.write(f"{step}\\n")
    time.sleep(0.1)
"""
LARGE = """
import mmap, time
file = open("large", "r+b")
memory = mmap.mmap(file.fileno(), 0)
for step in range(600):
    memory[:8] = b"%8d" % step
    with open("rows.txt", "a") as rows: rows.write(f"{step}\\n")
    time.sleep(0.1)
"""
TOO_LARGE_TO_COPY = 65 << 20


@pytest.fixture
def bench(one_of_each: EngineHere, bench: Workbench) -> Workbench:
    del one_of_each
    return bench


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def crash(bench: Workbench, words: list[str]) -> None:
    """Run WORDS until a generation is committed and more was written; then kill all."""
    process = bench.start("-i", "1", *words)
    bench.wait_generations(1, process)
    bench.wait_lines(3, process, "rows.txt")
    kill_all(process)


@contextmanager
def terminal(bench: Workbench, *words: str) -> Iterator[pexpect.spawn[Any]]:
    """Type ``dmtcp-run WORDS`` on a terminal, and stop it at the end."""
    argv = bench.line("-i", "0", *words)
    options = {"cwd": str(bench.folder), "env": bench.environ, "timeout": LONG_S, "dimensions": (24, 1000)}
    child = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", **options)
    try:
        yield child
    finally:
        child.sendcontrol("c")
        child.expect(pexpect.EOF)
        child.close()


def test_that_lines_went_back_and_where_they_are_kept(bench: Workbench) -> None:
    crash(bench, program(APPENDS))
    with terminal(bench, *program(APPENDS)) as child:
        child.expect("dmtcp-run: restored what changed since the checkpoint; the changed content is in [^\r\n]*")
        child.expect("dmtcp-run: job [^\r\n]*: resumed generation")


def test_that_the_machine_went_down_since(bench: Workbench) -> None:
    crash(bench, program(APPENDS))
    boot = bench.job / "undo" / "boot"
    boot.write_text(f"{boot.read_text().splitlines()[0]}\nanother")
    with terminal(bench, *program(APPENDS)) as child:
        child.expect("dmtcp-run: the machine went down since then: [^\r\n]* will be repeated")


def test_that_a_mapped_file_is_too_large_to_be_brought_back(bench: Workbench) -> None:
    if bench.engine is not None and bench.engine.name == "dmtcp":
        pytest.skip("DMTCP maps files again after a checkpoint, so that they are kept")
    (bench.folder / "large").touch()
    with (bench.folder / "large").open("r+b") as file:
        file.truncate(TOO_LARGE_TO_COPY)
    crash(bench, program(LARGE))
    with terminal(bench, "--accept-changed-files", *program(LARGE)) as child:
        child.expect("dmtcp-run: [^\r\n]*changed since generation [0-9]+ was taken, and not brought back: ")


def test_that_a_program_without_a_journal_repeats_what_it_did(bench: Workbench) -> None:
    words = program(APPENDS)
    process = bench.start("-i", "1", *words)
    bench.wait_generations(1, process)
    kill_all(process)
    for manifest in bench.job.glob("generations/*/manifest.json"):
        record = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**record, "undo_part": None, "check": None}))
    with terminal(bench, *words) as child:
        child.expect("dmtcp-run: what the program did to files by name since then will be repeated: it was not")
