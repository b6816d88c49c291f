"""Generations as a user meets them: damaged ones, older ones, other jobs, other lineages."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from kit.jobs import manifest_of
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

    Process = subprocess.Popen[bytes]

STAGED = """
import os, sys, time
x = 1
for stage in range(int(sys.argv[1])):
    for step in range(5):
        x = 16807 * x % 2147483647
        print(stage, step, x, flush=True)
    while not os.path.exists(f"go-{stage}"):
        time.sleep(0.02)
print("done", x, flush=True)
"""
"""Prints five lines a stage, and goes on to the next one once there is a file for it: always the same output."""
STAGES = 6


class Staged:
    """A staged program under dmtcp-run and, beside, without."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.program = [*bench.python("staged.py", STAGED), str(STAGES)]
        self._stage = 0
        for stage in range(STAGES):
            (bench.plain / f"go-{stage}").touch()
        self._plain = bench.start_plain(*self.program)

    def words(self, *options: str) -> list[str]:
        """Return the line's words: checkpoints only when they are asked for."""
        return ["-i", "0", *options, "--stdout", "out.txt", *self.program]

    def start(self, *options: str, **popen: Any) -> Process:
        """Start the line and wait until the program runs."""
        said = self.bench.folder / "stderr.txt"
        begins = said.stat().st_size if said.exists() else 0
        process = self.bench.start(*self.words(*options), **popen)
        wait_until(lambda: b": started" in (text := said.read_bytes()[begins:]) or b": resumed" in text)
        assert process.poll() is None
        self._await_stage(process)
        return process

    def go_on(self) -> None:
        """Have the program print its next five lines."""
        (self.bench.folder / f"go-{self._stage}").touch()
        self._stage += 1
        self._await_stage()

    def commit(self, count: int = 1) -> None:
        """Have COUNT generations committed; the program goes on after each of them."""
        for _ in range(count):
            done = self.bench.ctl("checkpoint", self.bench.job.name)
            assert done.returncode == 0, done.stderr
            self.go_on()

    def run_and_die(self, *options: str, generations: int) -> None:
        """Run until GENERATIONS are committed and the program has gone on, and kill everything."""
        process = self.start(*options)
        self.commit(generations)
        kill_all(process)

    def start_over(self) -> None:
        """Have the program wait at its first stage again."""
        for path in self.bench.folder.glob("go-*"):
            path.unlink()
        self._stage = 0

    def open_all(self) -> None:
        """Have the program wait no more."""
        for stage in range(STAGES):
            (self.bench.folder / f"go-{stage}").touch()

    def finish(self, *options: str, **popen: Any) -> subprocess.CompletedProcess[str]:
        """Give the line again: it must finish as the run beside did."""
        self.open_all()
        done = self.bench.run(*self.words(*options), **popen)
        assert done.returncode == 0, done.stderr
        assert self._plain.wait(LONG_S) == 0
        self.bench.assert_same("out.txt")
        return done

    def _await_stage(self, process: Process | None = None) -> None:
        """Wait for the lines of this stage; PROCESS must live until then."""
        out = self.bench.folder / "out.txt"
        wanted = min(5 * (self._stage + 1), 5 * STAGES)

        def is_reached() -> bool:
            return out.exists() and out.read_bytes().count(b"\n") >= wanted

        wait_until(lambda: is_reached() or (process is not None and process.poll() is not None))
        assert is_reached(), (self.bench.folder / "stderr.txt").read_text()


@pytest.fixture
def staged(bench: Workbench, one_engine: EngineHere) -> Staged:
    """Return a program that can be run, killed and given again."""
    assert one_engine
    return Staged(bench)


def flip_a_bit(folder: Path) -> None:
    path = image(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut_the_image(folder: Path) -> None:
    os.truncate(image(folder), image(folder).stat().st_size // 2)


def remove_the_image(folder: Path) -> None:
    image(folder).unlink()


def garble_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\0garbage\xff")


def empty_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"")


def remove_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def name_a_file_elsewhere(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["images"][0]["name"] = manifest["restart_images"][0] = "../../../../etc/passwd"
    (folder / "manifest.json").write_text(json.dumps(manifest))


def put_a_symlink(folder: Path) -> None:
    elsewhere = folder.parent.parent / "elsewhere"
    image(folder).rename(elsewhere)
    image(folder, missing=True).symlink_to(elsewhere)


def image(folder: Path, *, missing: bool = False) -> Path:
    """Return the largest image in generation FOLDER."""
    images = json.loads((folder / "manifest.json").read_text())["images"]
    path: Path = folder / max(images, key=lambda image: image["size"])["name"]
    assert missing or path.is_file()
    return path


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped bit": (flip_a_bit, "does not have the content that was committed"),
    "a truncated image": (cut_the_image, "bytes instead of"),
    "a missing image": (remove_the_image, "No such file or directory"),
    "a garbled manifest": (garble_the_manifest, "is damaged"),
    "an empty manifest": (empty_the_manifest, "is damaged"),
    "a missing manifest": (remove_the_manifest, "is missing"),
    "a name elsewhere": (name_a_file_elsewhere, "names a file outside its generation"),
    "a symlink": (put_a_symlink, "is not a regular file"),
}


class TestDamage:
    """What is on disk is not what was committed."""

    @pytest.mark.parametrize("what", DAMAGES)
    def test_the_one_before_is_used_when_the_newest_has(self, staged: Staged, what: str) -> None:
        bench = staged.bench
        damage, words = DAMAGES[what]
        staged.run_and_die(generations=2)
        damage(bench.job / "generations" / "000002")
        done = staged.finish()
        assert "generation 2 cannot be used: " in done.stderr
        assert words in done.stderr
        assert "resumed generation 1" in done.stderr
        failed = [line for line in bench.history if line["event"] == "failed"]
        assert [(line["what"], line["generation"]) for line in failed] == [("restart", 2)]
        assert words in failed[0]["error"]
        assert [line["generation"] for line in bench.history if line["event"] == "resumed"] == [1]

    def test_none_good_starts_nothing_and_touches_nothing(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=2)
        flip_a_bit(bench.job / "generations" / "000001")
        garble_the_manifest(bench.job / "generations" / "000002")
        before = (bench.folder / "out.txt").read_bytes(), (bench.folder / "out.txt").stat().st_mtime_ns
        events = bench.events
        for _ in range(2):
            done = bench.run(*staged.words())
            assert done.returncode == 125
            assert "generation 1" in done.stderr
            assert "generation 2" in done.stderr
            assert "--fresh starts over" in done.stderr
            assert "Traceback" not in done.stderr
        assert bench.events == [*events, "killed", *["failed"] * 4]
        assert bench.generations == [1, 2]
        assert ((bench.folder / "out.txt").read_bytes(), (bench.folder / "out.txt").stat().st_mtime_ns) == before
        assert bench.ctl("status", "--json").returncode == 0
        staged.finish("--fresh")

    @pytest.mark.parametrize("what", ["generations", "generations/000001"])
    def test_generations_that_are_gone_are_no_reason_to_start_over(self, staged: Staged, what: str) -> None:
        bench = staged.bench
        staged.run_and_die(generations=1)
        shutil.rmtree(bench.job / what)
        before = (bench.folder / "out.txt").read_bytes()
        staged.open_all()
        done = bench.run(*staged.words())
        assert done.returncode == 125, done.stderr
        assert "--fresh" in done.stderr
        assert (bench.folder / "out.txt").read_bytes() == before
        staged.finish("--fresh")

    def test_a_state_that_a_crash_left_empty_stops_no_resume(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=1)
        (bench.job / "state.json").write_bytes(b"")
        with (bench.job / "history.jsonl").open("ab") as file:
            file.write(b'{"time": "2026-01-0')
        done = staged.finish()
        assert "resumed generation 1" in done.stderr

    def test_what_attempts_left_half_done_is_not_read_and_goes(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=1)
        generations = bench.job / "generations"
        shutil.copytree(generations / "000001", generations / "000002.partial")
        (generations / "0000003").mkdir()
        (bench.job / "staging" / "000009-1").mkdir()
        done = staged.finish()
        assert "resumed generation 1" in done.stderr
        assert not (generations / "000002.partial").exists()
        assert not (bench.job / "staging" / "000009-1").exists()


class TestKeep:
    """How many generations stay."""

    @pytest.mark.parametrize(("keep", "expected"), [("1", [4]), ("3", [2, 3, 4])])
    def test_keep_says_how_many(self, staged: Staged, keep: str, expected: list[int]) -> None:
        process = staged.start("--keep", keep)
        staged.commit(4)
        wait_until(lambda: staged.bench.generations == expected, 10)
        kill_all(process)
        staged.finish("--keep", keep)
        assert staged.bench.generations == [4]

    def test_two_stay_where_nothing_is_said(self, staged: Staged) -> None:
        staged.run_and_die(generations=3)
        assert staged.bench.generations == [2, 3]
        staged.finish()

    def test_the_newest_that_came_up_stays_until_a_newer_one_did(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=1)
        process = staged.start("--keep", "1")
        staged.commit(2)
        wait_until(lambda: bench.generations == [1, 3], 10)
        kill_all(process)
        staged.finish("--keep", "1")
        assert bench.generations == [3]

    def test_numbers_only_grow(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=3)
        assert bench.ctl("prune", "--keep", "1").returncode == 0
        process = staged.start()
        staged.commit(1)
        assert bench.generations[-1] == 4
        kill_all(process)
        staged.finish()


class TestLineages:
    """One run of the program from its beginning to its end, and the next."""

    def test_fresh_keeps_the_old_generations_until_the_new_run_has_its_first(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=2)
        staged.start_over()
        process = staged.start("--fresh")
        assert bench.generations == [1, 2]
        staged.commit(1)
        wait_until(lambda: bench.generations == [3], 10)
        assert "--fresh leaves files as they are" in (bench.folder / "stderr.txt").read_text()
        kill_all(process)
        done = staged.finish()
        assert "resumed generation 3" in done.stderr
        assert {line["lineage"] for line in bench.history if line["event"] == "started"} == {1, 2}

    def test_a_fresh_run_that_died_before_its_first_generation_begins_again(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=1)
        kill_all(staged.start("--fresh"))
        assert bench.generations == [1]
        done = staged.finish()
        assert "from the beginning, as no checkpoint was complete yet" in done.stderr
        assert [line["event"] for line in bench.history].count("resumed") == 0

    def test_the_same_line_after_the_end_begins_a_new_run(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=1)
        staged.finish()
        assert json.loads((bench.job / "job.json").read_text())["lineage"] == 1
        staged.start_over()
        process = staged.start()
        assert bench.generations == [1], "until the new run has its first"
        staged.commit(1)
        wait_until(lambda: bench.generations == [2], 10)
        kill_all(process)
        staged.finish()
        assert json.loads((bench.job / "job.json").read_text())["lineage"] == 2
        started = [line for line in bench.history if line["event"] == "started"]
        assert [(line["lineage"], line["why"]) for line in started] == [(1, "new"), (2, "the run before has finished")]
        assert [line["lineage"] for line in bench.history if line["event"] == "finished"] == [1, 2]

    def test_resume_only_resumes_and_never_begins(self, staged: Staged) -> None:
        bench = staged.bench
        done = bench.run(*staged.words("--resume-only"))
        assert done.returncode == 125
        assert not (bench.folder / "out.txt").exists()
        staged.run_and_die(generations=1)
        assert "resumed generation 1" in staged.finish("--resume-only").stderr
        events = bench.events
        done = bench.run(*staged.words("--resume-only"))
        assert done.returncode == 125
        assert "has finished with status 0" in done.stderr
        bench.assert_same("out.txt")
        assert bench.events == events

    def test_generation_says_from_which_to_go_on(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=2)
        done = bench.run(*staged.words("--generation", "9"))
        assert done.returncode == 125
        assert "it has 1, 2" in done.stderr
        process = staged.start("--generation", "1")
        assert bench.history[-1]["generation"] == 1
        staged.commit(1)
        assert bench.generations[-1] == 3
        manifest = manifest_of(bench.job, 3)
        assert manifest["parent"] == 1
        kill_all(process)
        staged.finish()

    @pytest.mark.parametrize("options", [["--fresh"], ["--generation", "1"]])
    def test_what_the_first_run_of_a_batch_job_has_done_the_next_does_not_do_again(
        self, staged: Staged, options: list[str]
    ) -> None:
        staged.run_and_die(generations=1)
        if options == ["--fresh"]:
            staged.start_over()
        environ = {**staged.bench.environ, "SLURM_JOB_ID": "4711"}
        process = staged.start(*options, env=environ)
        staged.commit()
        kill_all(process)
        done = staged.finish(*options, env={**environ, "SLURM_RESTART_COUNT": "1"})
        assert "resumed generation 2 " in done.stderr

    def test_a_generation_that_is_asked_for_and_damaged_has_no_substitute(self, staged: Staged) -> None:
        bench = staged.bench
        staged.run_and_die(generations=2)
        flip_a_bit(bench.job / "generations" / "000002")
        done = bench.run(*staged.words("--generation", "2"))
        assert done.returncode == 125
        assert "resumed" not in bench.events
        staged.finish()

    @pytest.mark.parametrize("other", [["--resume-only"], ["--generation", "1"]])
    def test_starting_over_and_going_on_exclude_each_other(
        self, bench: Workbench, one_engine: EngineHere, other: list[str]
    ) -> None:
        assert one_engine
        done = bench.run("--fresh", *other, "true")
        assert done.returncode == 2
        assert not bench.jobs.exists()


class TestWhichJob:
    """What makes two lines the same job."""

    @pytest.fixture(autouse=True)
    def _an_engine(self, one_engine: EngineHere) -> None:
        assert one_engine

    def names(self, bench: Workbench) -> set[str]:
        return {path.name for path in bench.jobs.iterdir() if path.is_dir()}

    def test_the_same_line_is_the_same_job_whatever_its_options(self, bench: Workbench) -> None:
        for options in ([], ["-i", "5", "--keep", "3"], ["-q"], ["--json"], ["--"]):
            assert bench.run(*options, "true").returncode == 0
        assert len(self.names(bench)) == 1
        assert bench.events.count("finished") == 5

    def test_another_command_is_another_job(self, bench: Workbench) -> None:
        for words in (["true"], ["true", "1"], ["true", "2"], ["true", ""], ["/bin/true"]):
            assert bench.run(*words).returncode == 0
        assert len(self.names(bench)) == 5
        assert all(name.startswith("true-") for name in self.names(bench))

    def test_another_directory_is_another_job(self, bench: Workbench) -> None:
        other = bench.folder / "other"
        other.mkdir()
        assert bench.run("--dir", bench.jobs, "true").returncode == 0
        assert bench.run("--dir", bench.jobs, "true", cwd=other).returncode == 0
        assert len(self.names(bench)) == 2

    def test_a_job_can_be_kept_elsewhere(self, bench: Workbench, tmp_path: Path) -> None:
        environ = {**bench.environ, "DMTCP_RUN_DIR": str(tmp_path / "by variable")}
        assert bench.run("true", env=environ).returncode == 0
        assert bench.run("--dir", tmp_path / "by option", "true", env=environ).returncode == 0
        assert not bench.jobs.exists()
        for place in ("by variable", "by option"):
            assert [path.name for path in (tmp_path / place).iterdir() if path.is_dir()]

    def test_a_job_can_be_named(self, bench: Workbench) -> None:
        for name in ("one", "two"):
            assert bench.run("--job", name, "true").returncode == 0
        assert self.names(bench) == {"one", "two"}

    def test_another_array_task_is_another_job_and_another_batch_job_is_not(self, bench: Workbench) -> None:
        for job_id, task in (("100", "1"), ("100", "2"), ("200", "1")):
            environ = {**bench.environ, "SLURM_JOB_ID": job_id, "SLURM_ARRAY_TASK_ID": task}
            assert bench.run("true", env=environ).returncode == 0
        names = sorted(self.names(bench))
        assert [name.split("-")[:2] for name in names] == [["true", "1"], ["true", "2"]]
        history = (bench.jobs / names[0] / "history.jsonl").read_text().splitlines()
        started = [line for line in map(json.loads, history) if line["event"] == "started"]
        assert [line["scheduler_job"] for line in started] == ["100", "200"]

    def test_array_tasks_of_a_named_job_do_not_meet(self, bench: Workbench) -> None:
        for task in ("1", "2"):
            environ = {**bench.environ, "SLURM_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": task}
            assert bench.run("--job", "sweep", "true", env=environ).returncode == 0
        assert self.names(bench) == {"sweep-1", "sweep-2"}

    @pytest.mark.parametrize("task", ["../../x", "a/b", "-", "\n", "a b"])
    def test_a_hostile_array_task_leads_nowhere_else(self, bench: Workbench, task: str) -> None:
        environ = {**bench.environ, "SLURM_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": task}
        bench.run("--job", "sweep", "true", env=environ)
        bench.run("true", env=environ)
        places = set(bench.folder.parent.rglob("lock"))
        assert all(path.parent.parent == bench.jobs for path in places)


class TestRunsAlready:
    """The line is given while it runs."""

    @pytest.fixture
    def running(self, staged: Staged) -> Iterator[Process]:
        """Run the line as batch job 4711."""
        process = staged.start(env={**staged.bench.environ, "SLURM_JOB_ID": "4711"})
        yield process
        assert process.poll() is None
        process.kill()
        process.wait(LONG_S)

    def test_it_is_refused_with_host_and_pid(self, staged: Staged, running: Process) -> None:
        bench = staged.bench
        events = bench.events
        done = bench.run(*staged.words())
        assert done.returncode == 11
        assert done.stderr.startswith("dmtcp-run: ")
        assert f"on {os.uname().nodename} as pid {running.pid}, scheduler job 4711" in done.stderr
        assert "dmtcp-ctl" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert bench.events == events
        staged.go_on()

    @pytest.mark.parametrize("options", [["--fresh"], ["--generation", "1"], ["--resume-only"]])
    def test_no_option_gets_around_that(self, staged: Staged, running: Process, options: list[str]) -> None:
        assert running.poll() is None
        assert staged.bench.run(*staged.words(*options)).returncode == 11
        staged.go_on()

    def test_another_job_beside_it_runs(self, staged: Staged, running: Process) -> None:
        assert running.poll() is None
        assert staged.bench.run("--job", "other", "true").returncode == 0
        staged.go_on()


def test_of_lines_given_at_the_same_moment_one_runs(staged: Staged) -> None:
    bench = staged.bench
    together = [bench.start(*staged.words()) for _ in range(4)]
    wait_until(lambda: sum(process.poll() is None for process in together) == 1)
    for _ in range(STAGES):
        staged.go_on()
    assert sorted(process.wait(LONG_S) for process in together) == [0, 11, 11, 11]
    assert bench.events.count("started") == 1
    staged.finish()
