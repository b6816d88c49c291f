"""``dmtcp-ctl rehearse``: whether a program can be killed and resumed, found out without harm to what lies here."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kit.places import CTL
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

_OLD = "of an earlier run\n"


def rehearse(bench: Workbench, *words: str | Path, status: int, **popen: Any) -> dict[str, Any]:
    """Return what comes of a rehearsal with the engine of the test, in short steps."""
    done = bench.ctl("rehearse", "--json", *_asked(bench), *words, timeout_s=LONG_S, **popen)
    assert done.returncode == status, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _asked(bench: Workbench) -> list[str]:
    name = bench.engine.name if bench.engine else "auto"
    return ["--every", "0.6", "--time", "100", "--engine", name]


def only_trial(found: dict[str, Any]) -> dict[str, Any]:
    (trial,) = found["trials"]
    assert isinstance(trial, dict)
    return trial


def test_a_program_that_survives_is_told_with_its_costs_and_nothing_here_changes(
    bench: Workbench, engine: EngineHere
) -> None:
    ledger = bench.folder / "ledger.txt"
    ledger.write_text(_OLD)
    # a path of this directory leads into the copy
    found = rehearse(bench, *bench.counting(10_000, ledger=ledger), status=0)
    trial = only_trial(found)
    assert (found["works"], found["best"], trial["engine"]) == (True, engine.name, engine.name)
    assert trial["version"] == engine.version
    assert trial["size"] > 1_000_000
    assert 0 < trial["pause_s"] < 60
    assert 0 < trial["upkeep"]["share"] < 0.1
    assert trial["files"] == ["ledger.txt"]
    assert trial["difference"] is None
    assert [path.name for path in bench.folder.iterdir()] == ["ledger.txt"]
    assert ledger.read_text() == _OLD
    assert f"--ledger={ledger}" in found["line"]
    assert [path.name for path in bench.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_people_get_ten_lines_and_the_line_that_resumes(bench: Workbench, one_engine: EngineHere) -> None:
    text = (
        "import sys, time\nassert sys.stdin.read() == 'a model'\n"
        "for n in range(9999):\n    print(n, flush=True)\n    time.sleep(0.1)\n"
    )
    program = bench.python("reads.py", text)
    done = bench.ctl("rehearse", *_asked(bench), "--", *program, stdin=None, input="a model")
    first, *rows = done.stdout.splitlines()
    with_engine = f"{one_engine.name} {one_engine.version}"
    assert first.startswith(f"{shlex.join(program)} can be killed and resumed with {with_engine} (")
    assert [row.split()[0] for row in rows[1:7]] == ["where", "images", "pause", "interval", "output", "files"]
    assert shlex.split(rows[-1]) == ["batch", "job", "dmtcp-run", "--stdout", "out.txt", *program]
    assert len(rows) < 10
    assert done.stderr == ""


@pytest.mark.usefixtures("one_engine")
def test_a_multi_line_program_is_rehearsed_in_lines_of_their_own(bench: Workbench) -> None:
    text = "import time\nwhile 1: time.sleep(0.1)"
    done = bench.ctl("rehearse", *_asked(bench), "--", sys.executable, "-c", text)
    first, *rows, last_but_one, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert first.endswith("s)")
    assert (last_but_one.split()[:3], last) == (["batch", "job", "dmtcp-run"], "while 1: time.sleep(0.1)'")
    assert len(rows) < 10


def test_in_place_all_is_put_back_here_and_elsewhere(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    outside, ledger = bench.folder.parent / "outside.txt", bench.folder / "ledger.txt"
    for path in (outside, ledger):
        path.write_text(_OLD)
    program = bench.counting(10_000, ledger="ledger.txt", append=outside, write="new.txt")
    found = rehearse(bench, "--in-place", *program, status=0)
    assert outside.read_text() == ledger.read_text() == _OLD
    assert [path.name for path in bench.folder.iterdir()] == ["ledger.txt"]
    assert only_trial(found)["outside"] == [str(outside)]
    assert str(outside) in found["place"]


def after_a_resume(bench: Workbench, what: str) -> list[str]:
    """Return the line of a program that prints, and does WHAT once there is what dmtcp-run says in its second life."""
    text = (
        "import glob, sys, time\nwhile True:\n    print('step', flush=True)\n    time.sleep(0.05)\n"
        f"    if glob.glob('{bench.jobs}/.rehearsal-*/*/messages-1'):\n        {what}\n"
    )
    return bench.python("program.py", text)


def test_a_program_that_fails_after_the_resume_does_not_work(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    found = rehearse(bench, *after_a_resume(bench, "sys.exit('lost its licence')"), status=1)
    assert found["line"] is None
    assert "lost its licence" in only_trial(found)["problem"]


def test_a_program_that_hangs_after_the_resume_does_not_work(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    found = rehearse(bench, *after_a_resume(bench, "time.sleep(1e6)"), status=1)
    assert only_trial(found)["problem"].startswith("it hangs after the resume: it printed before the crash")


def test_a_program_that_fails_says_so_itself(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    found = rehearse(bench, *bench.python("fails.py", "import sys\nsys.exit('no such model')\n"), status=1)
    assert only_trial(found)["problem"].startswith("it ended with status 1 after ")
    assert only_trial(found)["problem"].endswith(": no such model")


def test_output_that_differs_in_each_run_is_no_fault(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    text = "import time\nwhile True:\n    print(time.time(), flush=True)\n    time.sleep(0.1)\n"
    found = rehearse(bench, *bench.python("times.py", text), status=0)
    assert only_trial(found)["difference"]["line"] >= 1
    assert found["comparison"]["varies"].startswith("line 1: ")


def test_a_comparison_looks_at_output_files_and_status(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    found = rehearse(bench, "--compare", *bench.counting(100, ledger="ledger.txt", status=7), status=0)
    assert found["comparison"]["is_whole"] is True
    assert found["comparison"]["status"] == only_trial(found)["status"] == 7


def test_a_directory_that_is_too_large_is_refused_with_what_to_type(bench: Workbench) -> None:
    with (bench.folder / "large.h5").open("wb") as file:
        file.truncate(3 << 30)
    done = bench.ctl("rehearse", "--", sys.executable, "-V")
    assert done.returncode == 2
    assert "--link large.h5" in done.stderr
    assert "--in-place" in done.stderr


def test_ctrl_c_leaves_nothing_behind(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    line = [CTL, "rehearse", "--engine", one_engine.name, *bench.counting(10_000, ledger="ledger.txt")]
    process = bench.start_line(line, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: list(bench.folder.parent.glob(".work-rehearsal-*/ledger.txt")))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(LONG_S) == 130
    assert not list(bench.folder.parent.glob(".work-rehearsal-*"))
    assert [path.name for path in bench.folder.iterdir()] == [bench.messages]


@pytest.mark.parametrize("words", [["no-such-program"], ["./nothing"]])
def test_a_program_that_is_not_there_is_said_at_once(bench: Workbench, words: list[str]) -> None:
    assert bench.ctl("rehearse", "--", *words).returncode == 127
