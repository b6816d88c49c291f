"""The gate: a command that says whether the program may run now."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from kit.places import EXAMPLES
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

OFTEN = ("--gate", "test ! -e closed || { echo too dear; exit 1; }", "--gate-every", "1s")
LINE = ("-i", "0", "--job", "demo", "--stdout", "out.txt", *OFTEN)


def close(bench: Workbench) -> None:
    (bench.folder / "closed").touch()


def open_(bench: Workbench) -> None:
    (bench.folder / "closed").unlink()


def phase(bench: Workbench) -> str:
    said = bench.ctl("status", "--json").stdout
    return str(json.loads(said)[0]["phase"]) if '"phase"' in said else ""


def test_the_program_is_checkpointed_and_stopped_while_the_gate_is_closed(
    bench: Workbench, one_of_each: EngineHere
) -> None:
    assert one_of_each
    process = bench.start(*LINE, *bench.counting(60))
    bench.wait_lines(2, process)
    close(bench)
    wait_until(lambda: phase(bench) == "gate closed")
    stopped_at = bench.said("out.txt")
    assert bench.manifest["reason"] == "gate closed"
    assert bench.said_with("the gate is closed") == "dmtcp-run: the gate is closed (too dear); asking again every 1s"
    asked = bench.ctl("checkpoint", "demo")
    assert asked.stdout.startswith("nothing runs, as the gate is closed (too dear)")
    assert bench.said("out.txt") == stopped_at
    open_(bench)
    assert process.wait(LONG_S) == 0
    assert bench.events.count("resumed") == 1
    bench.assert_counted(60)


def test_a_computation_follows_the_carbon_intensity(bench: Workbench, one_engine: EngineHere) -> None:
    """The line of examples/README.md, with a day of 16 seconds."""
    assert one_engine
    gate = f"{EXAMPLES / 'carbon-intensity'} 200 16"
    line = ["-i", "0", "--gate", gate, "--gate-every", "1s", "--stdout", "out.txt", *bench.counting(150)]
    assert bench.start(*line).wait(LONG_S) == 0
    bench.assert_counted(150)
    said = bench.said()
    assert "g CO2/kWh); asking again every 1s" in said
    # the figure of each answer agrees with it
    for text in said.splitlines():
        if "the gate is" in text:
            grams = int(text.partition("(")[2].partition(" ")[0])
            assert (grams < 200) == ("is open" in text)
    assert {line["reason"] for line in bench.history if line["event"] == "checkpointed"} == {"gate closed"}


def test_the_attempt_ends_where_that_is_asked_for_and_the_same_line_goes_on_once_the_gate_is_open(
    bench: Workbench, one_engine: EngineHere
) -> None:
    assert one_engine
    line = [*LINE, "--gate-then", "exit", *bench.counting(40)]
    process = bench.start(*line)
    bench.wait_lines(2, process)
    close(bench)
    assert process.wait(LONG_S) == 85
    stopped_at = bench.said("out.txt")
    again = bench.run(*line)
    assert again.returncode == 85
    last = "not run, as the gate is closed (too dear); the same line resumes from generation 1"
    assert again.stderr.splitlines()[-1] == f"dmtcp-run: {last}"
    assert phase(bench) == "held"
    assert bench.said("out.txt") == stopped_at
    open_(bench)
    assert bench.run(*line).returncode == 0
    bench.assert_counted(40)


def test_nothing_is_started_before_the_gate_is_open(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    close(bench)
    process = bench.start(*LINE, *bench.counting(3))
    wait_until(lambda: phase(bench) == "gate closed")
    assert not (bench.folder / "out.txt").exists()
    open_(bench)
    assert process.wait(LONG_S) == 0
    bench.assert_counted(3)


@pytest.mark.parametrize("by", ["signal", "request", "limit"])
def test_a_line_that_waits_can_be_stopped(bench: Workbench, one_engine: EngineHere, by: str) -> None:
    assert one_engine
    close(bench)
    limit = ["--time-limit", "8"] if by == "limit" else []
    process = bench.start(*limit, *LINE, *bench.counting(3))
    wait_until(lambda: phase(bench) == "gate closed")
    if by == "signal":
        process.send_signal(signal.SIGTERM)
    elif by == "request":
        assert bench.ctl("stop", "demo").returncode == 0
    assert process.wait(LONG_S) == 85
    assert "there is no generation yet, so the same line starts the program again" in bench.said()
    open_(bench)
    assert bench.run(*LINE, *bench.counting(3)).returncode == 0


def test_a_gate_that_cannot_be_run_is_wrong_usage_and_changes_nothing(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    done = bench.run("--gate", "no-such-command", "true")
    assert done.returncode == 2
    assert "--gate: 'no-such-command' cannot be run" in done.stderr
    assert not list(bench.jobs.glob("*/job.json"))


def test_a_gate_that_breaks_later_stops_nothing(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    gate = "test ! -e broken || kill -KILL $$"
    process = bench.start("-i", "0", "--gate", gate, "--gate-every", "1s", "--stdout", "out.txt", *bench.counting(60))
    bench.wait_lines(1, process)
    (bench.folder / "broken").touch()
    bench.wait_said("was killed by signal 9; until it answers, the gate stays open", process)
    assert process.wait(LONG_S) == 0
    assert bench.events == ["started", "finished"]
    assert bench.said().count("--gate") == 1
