"""Shared memory is what it was at the checkpoint, whatever a killed run has written into it since and left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.places import PROGRAM_FILES
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

COUNT = """
import os, sys, time
from multiprocessing import resource_tracker, shared_memory

block = shared_memory.SharedMemory(create=True, size=8)
resource_tracker.unregister(block._name, "shared_memory")
child = os.fork()
for step in range(int(sys.argv[1])):
    if child == 0:
        block.buf[0] = (block.buf[0] * 7 + step) % 251
    time.sleep(0.1)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print("final", block.buf[0])
block.close()
os.unlink(f"/dev/shm/{block._name.lstrip('/')}")
"""
SEMAPHORE = """
import multiprocessing, os, sys, time

context = multiprocessing.get_context("fork")
turn = context.Semaphore(0)
child = os.fork()
for step in range(int(sys.argv[1])):
    if child == 0:
        turn.release()
    else:
        turn.acquire()
        print(step, flush=True)
    time.sleep(0.1)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print("left", turn.get_value())
"""


def _segments(bench: Workbench) -> set[Path]:
    """Return the shared memory that the newest images know of; CRIU's programs have a /dev/shm of their own."""
    recorded = json.loads(bench.manifest["engine_data"].get("shared_memory", "{}"))
    return {Path(path) for paths in recorded.values() for path in paths}


def _killed_twice(bench: Workbench, *program: str) -> None:
    plain = bench.start_plain(*program)
    assert plain.wait(LONG_S) == 0
    line = ["-i", "1", "--stdout", "out.txt", *program]
    for _ in range(2):
        process = bench.start(*line)
        bench.wait_generations(1, process)
        assert process.poll() is None
        kill_all(process)
    segments = _segments(bench)
    assert bool(segments) == (bench.engine is not None and bench.engine.name == "dmtcp")
    assert bench.run(*line).returncode == 0
    bench.assert_same("out.txt")
    assert not [path for path in segments if path.exists()]


def test_a_segment_with_a_name_is_what_it_was(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    _killed_twice(bench, *bench.python("count.py", COUNT), "60")


def test_a_semaphore_without_a_name_is_what_it_was_and_leaves_none_behind(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    _killed_twice(bench, *bench.python("semaphore.py", SEMAPHORE), "60")


def test_memory_without_a_file_is_still_shared(bench: Workbench, engine: EngineHere) -> None:
    if engine.name == "dmtcp" and built("shared") is None:
        pytest.skip("there was no C compiler at the installation")
    bench.assert_survives(bench.program("memory.py", 200), times=2)


def test_locks_that_processes_share_are_held_by_those_that_held_them(bench: Workbench, engine: EngineHere) -> None:
    compiler = shutil.which("cc")
    if compiler is None or (engine.name == "dmtcp" and built("shared") is None):
        pytest.skip("there is no C compiler")
    program = bench.folder.parent / "locks"
    subprocess.run([compiler, "-pthread", "-o", program, PROGRAM_FILES / "locks.c"], check=True, timeout=LONG_S)
    bench.assert_survives([program, "150"], times=2)
