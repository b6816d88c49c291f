"""What a program learns of the dmtcp-run that runs it, and asks of it, on every engine."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from kit.jobs import manifest_of
from kit.places import CTL
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.plain_user_too

ASKS = """
import time
from dmtcp_py import here

def life():
    return f"{here.resumed} {here.attempt} {here.time_left_s is not None and here.time_left_s > 300}"

print(life(), flush=True)
generation = here.checkpoint()
print(generation, life(), flush=True)
while True:
    time.sleep(0.1)
    print("on", flush=True)
    if here.resumed:
        break
"""
SECTIONS = """
import time
from dmtcp_py import here

while True:
    with here.inhibit():
        before = here.attempt
        time.sleep(0.2)
        after = here.attempt
    if here.resumed:
        print("whole" if before == after else "torn", flush=True)
        time.sleep(600)
"""
LONG_SECTION = """
import time
from dmtcp_py import here

with here.inhibit(at_most_s={at_most_s}):
    print("begin", flush=True)
    time.sleep({lasts_s})
    print("end", flush=True)
"""
STEPS = f"""
for step in 1 2 3; do
    {CTL} checkpoint --self || echo failed
    echo $step
    sleep 0.5
done
"""


def test_a_resumed_program_sees_its_new_life_though_its_environment_is_that_of_the_first(
    bench: Workbench, engine: EngineHere
) -> None:
    assert engine
    line = ["-i", "0", "--stdout", "out.txt", *bench.python("asks.py", ASKS)]
    process = bench.start("--time-limit", "200", "--lead", "10", *line)
    bench.wait_generation(1)
    bench.wait_said("\non", process, "out.txt")
    assert bench.said("out.txt").startswith("False 1 False\n1 False 1 False\non\n")
    kill_all(process)
    assert bench.start("--time-limit", "400", "--lead", "10", *line).wait(LONG_S) == 0
    assert bench.said("out.txt") == "False 1 False\n1 True 2 True\non\n"
    assert list((bench.job / "requests").iterdir()) == []


def test_no_checkpoint_is_taken_within_a_section_though_sections_follow_each_other(
    bench: Workbench, engine: EngineHere
) -> None:
    assert engine
    line = ["--keep", "20", "--stdout", "out.txt", *bench.python("sections.py", SECTIONS)]
    process = bench.start("-i", "0.5", *line)
    bench.wait_generation(3)
    kill_all(process)
    # a return to an earlier one gives up the later ones
    for generation in reversed(bench.generations[-3:]):
        (bench.folder / "out.txt").write_text("")
        process = bench.start("-i", "0", "--generation", str(generation), *line)
        bench.wait_lines(1, process)
        assert bench.said("out.txt") == "whole\n", f"generation {generation} was taken within a section"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 85


def test_a_section_has_a_bound(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    text = LONG_SECTION.format(at_most_s=2, lasts_s=600)
    process = bench.start("-i", "0", "--stdout", "out.txt", *bench.python("long.py", text))
    bench.wait_said("begin", process, "out.txt")
    done = bench.ctl("checkpoint", bench.job.name)
    assert (done.returncode, done.stdout) == (0, "generation 1 is committed\n")
    assert bench.manifest["stdout_size"] == len("begin\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85


def test_the_checkpoint_at_a_time_limit_does_not_wait_for_ever(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    text = LONG_SECTION.format(at_most_s=600, lasts_s=600)
    line = ["--time-limit", "24", "--lead", "20", "--stdout", "out.txt", *bench.python("long.py", text)]
    assert bench.start("-i", "0", *line).wait(LONG_S) == 85
    assert "time limit: no time to wait for the end of the program's inhibit()" in bench.said()
    assert bench.manifest["reason"] == "time limit"


def test_a_signal_waits_for_a_short_section_and_not_for_a_long_one(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    for job, lasts_s, printed in (("short", 3, "begin\nend\n"), ("long", 600, "begin\n")):
        text = LONG_SECTION.format(at_most_s=600, lasts_s=lasts_s) + "time.sleep(600)\n"
        line = ["-i", "0", "--job", job, "--stdout", f"{job}.txt", *bench.python(f"{job}.py", text)]
        process = bench.start(*line)
        bench.wait_said("begin", process, f"{job}.txt")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 85, bench.said()
        assert manifest_of(bench.jobs / job, 1)["stdout_size"] == len(printed)


def test_a_script_checkpoints_itself_between_its_steps(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    script = bench.folder.parent / "steps.sh"
    script.write_text(STEPS)
    line = ["-i", "0", "--stdout", "out.txt", "sh", script]
    plain = bench.start_plain("sh", script)
    process = bench.start(*line)
    bench.wait_generation(2)
    wait_until(lambda: "2" in bench.said("out.txt"))
    kill_all(process)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    assert bench.generations[-1] >= 3
    bench.assert_same("out.txt")
