"""A sandbox as HTCondor has it: another path at each start, and nothing but plain files kept between two starts."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.packed import pack, unpack
from kit.bench import Workbench
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

of_each_engine = pytest.mark.usefixtures("one_of_each")

PROGRAM = """
import os, sys, time
out = open("result.txt", "w")
for step in range(40):
    out.write(f"{step}\\n"); out.flush()
    with open(os.path.abspath("appended.txt"), "a") as file: file.write(f"{step}\\n")
    print(step, os.getcwd() == sys.argv[1], flush=True)
    time.sleep(0.1)
sys.exit(39)
"""
AD = """\
ClusterId = 7
ProcId = 0
ShouldTransferFiles = "YES"
"""
KEPT = 'WhenToTransferOutput = "ON_EXIT_OR_EVICT"\nTransferOutput = ".dmtcp-run,out.txt"\n'
CHECKPOINTED, FAILED, WRONG_USAGE = 85, 125, 2


class Sandbox:
    """A sandbox in FOLDER, of a job with the lines AD."""

    def __init__(self, bench: Workbench, folder: Path, ad: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "program.py").write_text(PROGRAM)
        (folder / ".job.ad").write_text(AD + ad)
        self.folder, self.first = folder, folder
        self.bench = Workbench(folder, bench.engine, started=bench.started)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the job."""
        return {
            **self.bench.environ,
            "_CONDOR_JOB_AD": str(self.folder / ".job.ad"),
            "_CONDOR_SCRATCH_DIR": str(self.folder),
        }

    @property
    def words(self) -> list[str]:
        """The line."""
        return ["-i", "1", "--stdout", "out.txt", "python3", "program.py", str(self.first)]

    def stop(self) -> None:
        """Run the line until a generation is committed, and stop it as an eviction does."""
        process = self.bench.start(*self.words, env=self.environ)
        self.bench.wait_generations(1, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == CHECKPOINTED

    def move(self, folder: Path) -> None:
        """Go on in FOLDER, with copies of the plain files and nothing else, as HTCondor copies them."""
        for path in self.folder.rglob("*"):
            assert path.is_dir() or (path.is_file() and not path.is_symlink()), path
        folder.parent.mkdir(exist_ok=True)
        shutil.copytree(self.folder, folder, copy_function=shutil.copy)
        shutil.rmtree(self.folder)
        self.folder = folder
        self.bench = Workbench(folder, self.bench.engine, started=self.bench.started)

    def assert_finishes(self) -> None:
        """Assert that the line resumes, and writes what it writes undisturbed."""
        done = self.bench.run(*self.words, env=self.environ)
        assert done.returncode == 39, done.stderr
        assert "resumed generation" in done.stderr
        numbers = "".join(f"{step}\n" for step in range(40))
        assert (self.folder / "appended.txt").read_text() == numbers
        assert (self.folder / "result.txt").read_text() == numbers
        # the last argument of the line is its first path, where the program still is
        assert (self.folder / "out.txt").read_text() == numbers.replace("\n", " True\n")


@of_each_engine
@pytest.mark.parametrize("place", ["beside", "elsewhere"])
def test_a_job_that_was_moved_sees_its_directory_where_it_was(bench: Workbench, place: str) -> None:
    sandbox = Sandbox(bench, bench.folder / "execute" / "dir_1", KEPT)
    sandbox.stop()
    sandbox.move(bench.folder / ("execute" if place == "beside" else "another") / "dir_2")
    if place == "elsewhere":
        shutil.rmtree(bench.folder / "execute")
    sandbox.assert_finishes()


@pytest.mark.usefixtures("one_engine")
def test_the_old_path_may_be_somebody_elses_by_now(bench: Workbench) -> None:
    sandbox = Sandbox(bench, bench.folder / "dir_1", KEPT)
    sandbox.stop()
    sandbox.move(bench.folder / "dir_2")
    other = bench.folder / "dir_1" / "out.txt"
    other.parent.mkdir()
    other.write_text("of somebody else\n")
    sandbox.assert_finishes()
    assert other.read_text() == "of somebody else\n"


@pytest.mark.parametrize(
    ("ad", "command"),
    [
        ('WhenToTransferOutput = "ON_EXIT_OR_EVICT"\n', "transfer_output_files"),
        ('WhenToTransferOutput = "ON_EXIT_OR_EVICT"\nTransferOutput = ".dmtcp-run/"\n', "transfer_output_files"),
        ('SuccessCheckpointExitCode = 85\nTransferCheckpoint = "out.txt"\n', "transfer_checkpoint_files"),
        ('SuccessCheckpointExitCode = 85\nTransferOutput = "out.txt, x"\n', "transfer_output_files"),
    ],
)
def test_a_job_whose_checkpoints_would_be_left_behind_is_refused(bench: Workbench, ad: str, command: str) -> None:
    sandbox = Sandbox(bench, bench.folder / "dir_1", ad)
    done = sandbox.bench.run(*sandbox.words, env=sandbox.environ)
    assert done.returncode == WRONG_USAGE
    assert f"name .dmtcp-run and the program's files in {command} of the submit file" in done.stderr
    assert not (sandbox.folder / ".dmtcp-run").exists()


@pytest.mark.usefixtures("one_engine")
def test_a_stop_on_request_does_not_start_the_job_again(bench: Workbench) -> None:
    sandbox = Sandbox(bench, bench.folder / "dir_1", f"{KEPT}SuccessCheckpointExitCode = 85\n")
    process = sandbox.bench.start(*sandbox.words, env=sandbox.environ)
    sandbox.bench.wait_generations(1, process)
    sandbox.bench.ctl("stop")
    assert process.wait(LONG_S) == FAILED
    assert "because htcondor starts jobs that exit with 85 again" in sandbox.bench.said()


def test_what_a_copy_would_not_keep_is_packed(tmp_path: Path) -> None:
    layout = JobLayout(tmp_path)
    (layout.undo / "000001").mkdir(parents=True)
    os.mkfifo(layout.undo / "000001" / "pipe")
    (layout.undo / "000001" / "file").write_text("old")
    os.utime(layout.undo / "000001" / "file", (5, 5))
    (layout.undo / "now").symlink_to("000001")
    layout.life.symlink_to("no file")
    pack(layout)
    assert [path.name for path in tmp_path.iterdir()] == ["packed.tar"]
    layout.undo.mkdir()
    (layout.undo / "left by an unpacking that was interrupted").touch()
    unpack(layout)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000001", "file", "now", "pipe", "undo"]
    assert (layout.undo / "000001" / "pipe").is_fifo()
    assert (layout.undo / "now" / "file").stat().st_mtime == 5
