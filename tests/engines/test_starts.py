"""Programs that start processes all the time: each one starts, and generations are made all the same."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

STARTS = """
for step in $(seq $1); do
    words=$(wc -w < words.txt)
    sorted=$(echo $step | sort)
    echo $step $words $sorted
done
"""


def test_a_script_that_starts_processes_without_a_pause_loses_none_of_them(
    bench: Workbench, engine: EngineHere
) -> None:
    if engine.name == "dmtcp" and built("forks") is None:
        pytest.skip("there was no C compiler at the installation")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash on this machine")
    for folder in (bench.folder, bench.plain):
        (folder / "words.txt").write_text("a few words\n")
    # under DMTCP a process takes ten times as long to start
    program = [bash, "-c", STARTS, "starts", "300" if engine.name == "dmtcp" else "6000"]
    line = ["--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    for _ in range(2):
        process = bench.start("-i", "1", *line)
        bench.wait_generations(3, process)
        assert process.poll() is None
        kill_all(process)
    assert bench.start("-i", "10", *line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    assert bench.events.count("resumed") == 2
    bench.assert_same("out.txt")
