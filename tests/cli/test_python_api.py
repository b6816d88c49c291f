"""The same from Python: dmtcp_py.run gives an Outcome. Each in a process of its own, which it takes over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

CALL = """
import json, sys
import dmtcp_py
from dmtcp_py.errors import DmtcpRunError
options = json.loads(sys.argv[1])
try:
    outcome = dmtcp_py.run(sys.argv[2:], **options)
    told = {"kind": outcome.kind.name, "status": outcome.status, "job": outcome.job, "generation": outcome.generation}
except DmtcpRunError as error:
    told = {"error": type(error).__name__, "what": error.what, "hint": error.hint, "status": error.status}
print(json.dumps(told))
"""


def call(bench: Workbench, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Call ``dmtcp_py.run(COMMAND, **OPTIONS)`` in a process of its own, which then prints what came of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, json.dumps(options), *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=bench.folder,
        env=bench.environ,
    )
    bench.started.append(process)  # type: ignore[arg-type]
    return process


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what came of a call."""
    out, said = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, said
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def test_a_finished_program_is_an_outcome_with_its_status(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    outcome = told(call(bench, "sh", "-c", "exit 7", job="mine"))
    assert outcome == {"kind": "FINISHED", "status": 7, "job": "mine", "generation": None}


def test_a_killed_program_is_another_outcome(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    outcome = told(call(bench, "sh", "-c", "kill -SEGV $$"))
    assert (outcome["kind"], outcome["status"]) == ("SIGNALLED", 139)


def test_a_stopped_program_is_a_third_and_the_same_call_resumes_it(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    command, options = bench.counting(100, status=5), {"interval": "auto", "stdout": "out.txt", "job": "mine"}
    process = call(bench, *command, **options)
    wait_until(lambda: (bench.folder / "out.txt").exists() and (bench.folder / "out.txt").read_text().count("\n") > 2)
    process.send_signal(signal.SIGTERM)
    assert told(process) == {"kind": "CHECKPOINTED", "status": 85, "job": "mine", "generation": 1}
    outcome = told(call(bench, *command, **options))
    assert (outcome["kind"], outcome["status"]) == ("FINISHED", 5)
    plain = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, check=False).stdout
    assert (bench.folder / "out.txt").read_text() == plain


def test_what_cannot_be_started_is_an_error_with_a_next_step(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    error = told(call(bench, "./missing"))
    assert (error["error"], error["status"]) == ("ProgramNotFoundError", 127)
    assert error["hint"]
    assert not bench.jobs.exists()


def test_signal_handling_is_as_before_after_a_run(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    code = """
import signal, dmtcp_py
numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP, signal.SIGCHLD)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
before = [signal.getsignal(number) for number in numbers]
assert dmtcp_py.run(["true"]).status == 0
assert before == [signal.getsignal(number) for number in numbers]
assert dmtcp_py.run(["sh", "-c", "exit 3"]).status == 3
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
        cwd=bench.folder,
        env=bench.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
