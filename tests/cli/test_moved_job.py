"""A job's directory that was moved or copied: the same line never starts over beside the unfinished job."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from kit.bench import Workbench
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from kit.engines import EngineHere

PROGRAM = """
import os, sys, time
source = open("input.txt")
out = open("result.txt", "w")
for step in range(int(sys.argv[1])):
    out.write(f"{step} {source.readline()}"); out.flush()
    with open("appended.txt", "a") as file: file.write(f"{step}\\n")
    if step == 3: open("made", "x").close()
    print(step, flush=True)
    time.sleep(0.1)
sys.exit(39)
"""
FAILED = 125


class Project:
    """A directory in which a program runs, with the jobs in it or elsewhere."""

    def __init__(self, bench: Workbench, name: str, jobs: Path | None = None, steps: int = 40) -> None:
        self.folder = bench.folder / name
        self.folder.mkdir()
        (self.folder / "input.txt").write_text("".join(f"{number}\n" for number in range(100)))
        (self.folder / "program.py").write_text(PROGRAM)
        self.bench = Workbench(self.folder, bench.engine, started=bench.started)
        self.options = ["--dir", str(jobs)] if jobs else []
        self.words = [*self.options, "--stdout", "out.txt", "python3", "program.py", str(steps)]
        self.environ: dict[str, str] = bench.environ

    def now_in(self, folder: Path) -> Project:
        """Return the same line, typed in FOLDER."""
        other = Project.__new__(Project)
        vars(other).update(vars(self))
        other.folder, other.bench = folder, Workbench(folder, self.bench.engine, started=self.bench.started)
        return other

    def moved_to(self, name: str) -> Project:
        """Move the directory, and return the same line there."""
        return self.now_in(self.folder.rename(self.folder.with_name(name)))

    def interrupt(self, *options: str, stops: bool = False) -> None:
        """Run the line until a generation is committed and more was done; then kill it, or stop it."""
        process = self.bench.start("-i", "1", *options, *self.words, env=self.environ)
        jobs = self.folder / ".dmtcp-run" if not self.options else self.folder / self.options[1]
        bench = Workbench(jobs.parent, None)
        bench.wait_generations(1, process)
        if stops:
            process.send_signal(signal.SIGTERM)
            assert process.wait(LONG_S) == 85
        else:
            self.bench.wait_lines(3, process)
            kill_all(process)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the line to its end."""
        return self.bench.run("-i", "0", *options, *self.words, env=self.environ)

    @property
    def jobs(self) -> list[str]:
        """The names of the jobs."""
        folder = self.folder / self.options[1] if self.options else self.folder / ".dmtcp-run"
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    @property
    def results(self) -> dict[str, str]:
        """What the program wrote."""
        return {name: (self.folder / name).read_text() for name in ("out.txt", "result.txt", "appended.txt", "made")}

    def assert_whole(self, steps: int = 40) -> None:
        """Assert that the program wrote what it writes undisturbed."""
        numbers = "".join(f"{step}\n" for step in range(steps))
        assert self.results == {
            "out.txt": numbers,
            "appended.txt": numbers,
            "result.txt": "".join(f"{step} {step}\n" for step in range(steps)),
            "made": "",
        }


def everything(folder: Path) -> dict[str, object]:
    """Return all that lies in FOLDER."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != "stderr.txt"
    }


@pytest.fixture
def bench(one_of_each: EngineHere, bench: Workbench) -> Workbench:
    del one_of_each
    return bench


@pytest.mark.parametrize("stops", [False, True], ids=["killed", "stopped"])
def test_a_moved_job_is_refused_and_resumes_where_its_old_path_leads(bench: Workbench, *, stops: bool) -> None:
    project = Project(bench, "project")
    project.interrupt(stops=stops)
    (name,) = project.jobs
    project = project.moved_to("project 2")
    before = everything(project.folder)
    done = project.run()
    assert done.returncode == FAILED
    old, new = bench.folder / "project", project.folder
    assert f"job {name} is unfinished" in done.stderr
    assert f"'ln -s '{new}' {old}', and --job {name} resumes it; --fresh starts over" in done.stderr
    assert everything(project.folder) == before
    named = project.run("--job", name)
    assert named.returncode == FAILED
    assert "ln -s" in named.stderr
    old.symlink_to(new)
    done = project.run("--job", name)
    assert done.returncode == 39, done.stderr
    assert "resumed generation" in done.stderr
    project.assert_whole()


def test_where_the_old_path_leads_here_the_same_line_resumes(bench: Workbench) -> None:
    project = Project(bench, "project")
    project.interrupt()
    project = project.moved_to("project2")
    (bench.folder / "project").symlink_to(project.folder)
    done = project.run()
    assert done.returncode == 39, done.stderr
    project.assert_whole()
    assert len(project.jobs) == 1


def test_in_a_copy_the_line_is_refused_and_the_original_is_left_alone(bench: Workbench) -> None:
    project = Project(bench, "project")
    project.interrupt()
    shutil.copytree(project.folder, bench.folder / "copy", symlinks=True)
    copy = project.now_in(bench.folder / "copy")
    before = everything(project.folder)
    (name,) = project.jobs
    for options in ([], ["--job", name]):
        done = copy.run(*options)
        assert done.returncode == FAILED
        assert f"started by the same line in {project.folder}: this directory was copied or moved" in done.stderr
        assert "run the line there to resume it; --fresh starts over" in done.stderr
    assert everything(project.folder) == before
    for name in ("appended.txt", "made"):
        (copy.folder / name).unlink(missing_ok=True)
    assert copy.run("--fresh").returncode == 39
    copy.assert_whole()
    assert everything(project.folder) == before
    assert project.run().returncode == 39
    project.assert_whole()


def test_fresh_starts_over_in_a_moved_directory(bench: Workbench) -> None:
    project = Project(bench, "project")
    project.interrupt(stops=True)
    project = project.moved_to("project2")
    for name in ("appended.txt", "made"):
        (project.folder / name).unlink(missing_ok=True)
    assert project.run("--fresh").returncode == 39
    project.assert_whole()


def test_two_directories_that_share_one_for_their_jobs_are_two_jobs(bench: Workbench) -> None:
    jobs = bench.folder / ".dmtcp-run"
    projects = [Project(bench, name, jobs) for name in ("one", "two")]
    projects[0].interrupt()
    done = projects[1].run()
    assert done.returncode == 39, done.stderr
    projects[1].assert_whole()
    assert projects[0].run().returncode == 39
    projects[0].assert_whole()


def test_a_job_kept_elsewhere_whose_directory_is_gone_is_not_started_over(bench: Workbench) -> None:
    """As where each run of a batch job gets a scratch directory of its own, and the jobs are kept on another disk."""
    jobs = bench.folder / ".dmtcp-run"
    project = Project(bench, "scratch-1", jobs)
    project.interrupt(stops=True)
    (name,) = project.jobs
    project = project.moved_to("scratch-2")
    done = project.run()
    assert done.returncode == FAILED
    assert f"--job {name}" in done.stderr
    assert project.jobs == [name]


def test_of_an_array_the_same_task_alone_is_refused(bench: Workbench) -> None:
    project = Project(bench, "project")
    environ = {**bench.environ, "SLURM_JOB_ID": "100"}
    project.environ = {**environ, "SLURM_ARRAY_TASK_ID": "1"}
    project.interrupt()
    (name,) = project.jobs
    project = project.moved_to("project2")
    assert project.run().returncode == FAILED
    (bench.folder / "project").symlink_to(project.folder)
    done = project.run("--job", name)
    assert done.returncode == 39, done.stderr
    project.assert_whole()
    (bench.folder / "project").unlink()
    project.environ = {**environ, "SLURM_ARRAY_TASK_ID": "2"}
    assert "started" in project.run("--fresh").stderr


def test_a_line_with_a_name_and_absolute_paths_is_refused_too(bench: Workbench) -> None:
    project = Project(bench, "project")
    project.words = ["--job", "named", "--stdin", "input.txt", "python3", str(project.folder / "program.py"), "40"]
    process = project.bench.start("-i", "1", *project.words)
    project.bench.wait_generations(1, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    moved = project.moved_to("project2")
    moved.words[5] = str(moved.folder / "program.py")
    done = moved.run()
    assert done.returncode == FAILED
    assert "--job named resumes it" in done.stderr
    moved.words = moved.words[2:]
    done = moved.run()
    assert done.returncode == FAILED
    assert "--job named resumes it" in done.stderr


def test_a_job_that_has_finished_is_in_nobodys_way(bench: Workbench) -> None:
    project = Project(bench, "project", steps=5)
    assert project.run().returncode == 39
    project = project.moved_to("project2")
    for name in ("appended.txt", "made"):
        (project.folder / name).unlink(missing_ok=True)
    assert project.run().returncode == 39
    project.assert_whole(5)


def test_a_job_that_runs_in_a_directory_that_only_its_node_has_is_another_one(bench: Workbench) -> None:
    jobs = bench.folder / ".dmtcp-run"
    running, other = Project(bench, "one", jobs), Project(bench, "two", jobs)
    process = running.bench.start("-i", "1", *running.words)
    running.bench.wait_lines(1, process)
    gone = running.folder.rename(running.folder.with_name("seen by its node"))
    try:
        assert other.run().returncode == 39
        other.assert_whole()
    finally:
        kill_all(process)
        assert gone.is_dir()


def test_the_record_says_where_the_job_was_kept(bench: Workbench) -> None:
    assert bench.run("-i", "0", "true").returncode == 0
    assert json.loads((bench.job / "job.json").read_text())["kept_in"] == str(bench.job)
