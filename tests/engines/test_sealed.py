"""Sealed generations under real engines: they are resumed, mirrored and given up for older ones as raw ones are."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.seal import seal
from kit.bench import counted
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

STEPS = 200


def line_of(bench: Workbench, *more: str) -> list[str]:
    return ["--job", "sealed", "--stdout", "out.txt", *more, *bench.counting(STEPS, megabytes=20, ledger="ledger.txt")]


def make_sealed(bench: Workbench) -> JobLayout:
    """Run a job until it has two generations, kill it, and seal both."""
    process = bench.start("-i", "1", *line_of(bench))
    bench.wait_generations(2, process)
    kill_all(process)
    layout = JobLayout(bench.jobs / "sealed")
    former = None
    for number in layout.generation_numbers():
        done = seal(layout, number, former, lambda: None)
        assert done is not None
        assert done.stored < done.size
        former = number
    return layout


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"damage")


def assert_done(bench: Workbench) -> None:
    bench.assert_counted(STEPS)
    bench.assert_done_once(STEPS)


def test_a_sealed_generation_is_resumed(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    layout = make_sealed(bench)
    done = bench.run("-i", "0", *line_of(bench))
    assert done.returncode == 0, done.stderr
    assert f"resumed generation {layout.generation_numbers()[-1]}" in done.stderr
    assert not any(layout.staging.rglob("*.dmtcp"))
    assert_done(bench)


def test_a_damaged_sealed_generation_is_given_up_for_the_one_before(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    layout = make_sealed(bench)
    older, newest = layout.generation_numbers()[-2:]
    damage(layout.generation(newest) / "sealed")
    checked = bench.ctl("verify", "sealed")
    assert checked.returncode == 1
    assert "is damaged" in checked.stdout
    done = bench.run("-i", "0", *line_of(bench))
    assert done.returncode == 0, done.stderr
    assert f"generation {newest} cannot be used" in done.stderr
    assert f"resumed generation {older}" in done.stderr
    assert_done(bench)


def test_a_sealed_generation_is_mirrored_whole_and_resumed_from_there(
    bench: Workbench, one_of_each: EngineHere, tmp_path: Path
) -> None:
    assert one_of_each
    layout = make_sealed(bench)
    newest, mirror = layout.generation_numbers()[-1], tmp_path / "mirror"
    copy = mirror / "sealed" / "generations" / f"{newest:06}" / "manifest.json"
    process = bench.start("-i", "0", *line_of(bench, "--mirror", f"file:{mirror}"))
    wait_until(copy.exists)
    kill_all(process)
    done = bench.ctl("verify", "sealed", "--mirror", f"file:{mirror}", "--generation", str(newest))
    assert done.returncode == 0, done.stdout
    shutil.rmtree(layout.root)
    done = bench.run("-i", "0", *line_of(bench, "--mirror", f"file:{mirror}"))
    assert done.returncode == 0, done.stderr
    assert f"resumed generation {newest}" in done.stderr
    assert_done(bench)


def test_generations_are_sealed_while_the_program_runs(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    line = ["--seal", "-i", "3", "--job", "sealed", "--stdout", "out.txt", *bench.counting(5000, megabytes=20)]
    process = bench.start(*line)
    wait_until(lambda: "sealed" in bench.events or process.poll() is not None)
    kill_all(process)
    assert "sealed" in bench.events
    checked = bench.ctl("verify", "sealed")
    assert checked.returncode == 0, checked.stdout
    process = bench.start(*line)
    wait_until(lambda: "resumed" in bench.events or process.poll() is not None)
    assert bench.ctl("stop", "sealed").returncode == 0
    assert process.wait(LONG_S) == 85
    done = (bench.folder / "out.txt").read_bytes()
    assert done
    assert counted(5000).startswith(done)
