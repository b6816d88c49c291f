"""``dmtcp-ctl`` as a person and as a script use it, on real jobs."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from kit.bench import Workbench
from kit.places import CTL
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.engines import EngineHere

    Process = subprocess.Popen[bytes]

JOB = "demo"


def line(bench: Workbench) -> list[str]:
    """Return the words of the line that starts and resumes the job: its program waits until it may go on."""
    program = bench.counting(1, pause="0", until="go", status=7)
    return ["--job", JOB, "-i", "0", "--keep", "3", "--stdout", "out.txt", *program]


def start(bench: Workbench) -> Process:
    """Give the line and wait until the program runs."""
    process = bench.start(*line(bench))
    wait_until(lambda: bench.said("out.txt") or process.poll() is not None)
    return process


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what a listing with ``--json`` printed."""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def columns(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """Return the words of a listing for people, line by line."""
    return [line.split() for line in done.stdout.splitlines()]


def status_of(bench: Workbench, *words: str, directory: Path | None = None) -> dict[str, Any]:
    """Return what dmtcp-ctl says of the only job."""
    place = ["--dir", str(directory)] if directory else []
    done = bench.ctl(*place, "status", "--json", *words)
    assert done.returncode == 0, done.stderr
    (row,) = rows(done)
    return row


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what lies below FOLDER: mode, time of change and content of each file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (state.st_mode, state.st_mtime_ns, content)
    return found


@pytest.fixture(scope="module")
def _made() -> dict[str, Path]:
    """Keep the stopped job of each engine, made once."""
    return {}


@pytest.fixture
def stopped(
    bench: Workbench, one_engine: EngineHere, tmp_path_factory: pytest.TempPathFactory, _made: dict[str, Path]
) -> Workbench:
    """Return a workbench with a copy of a job with three generations that was checkpointed and stopped."""
    if str(one_engine) not in _made:
        folder = tmp_path_factory.mktemp("made") / "work"
        folder.mkdir()
        _made[str(one_engine)] = stop_a_job(Workbench(folder, one_engine))
    shutil.copytree(_made[str(one_engine)], bench.jobs, symlinks=True)
    return bench


def stop_a_job(bench: Workbench) -> Path:
    """Have three generations of a job committed, the last one with its stop; return where jobs are kept."""
    process = start(bench)
    try:
        for _ in range(2):
            done = bench.ctl("checkpoint", JOB)
            assert done.returncode == 0, done.stderr
        assert bench.ctl("stop", JOB).returncode == 0
        assert process.wait(LONG_S) == 85
    finally:
        process.kill()
        process.wait(LONG_S)
    assert bench.generations == [1, 2, 3]
    return bench.jobs


@pytest.fixture
def running(bench: Workbench, one_engine: EngineHere) -> Iterator[Process]:
    """Run a job that waits to be told to go on; it must end as its program does unless the test ends it otherwise."""
    assert one_engine
    process = start(bench)
    yield process
    if process.poll() is None:
        (bench.folder / "go").touch()
        assert process.wait(LONG_S) == 7
    assert "Traceback" not in (bench.folder / "stderr.txt").read_text()


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def image(bench: Workbench, number: int) -> Path:
    """Return the largest file of generation NUMBER."""
    folder = bench.job / "generations" / f"{number:06}"
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


class TestStatus:
    """What each job is doing, or how it ended."""

    def test_a_stopped_job_is_told_in_80_columns(self, stopped: Workbench) -> None:
        done = stopped.ctl("status")
        header, row = columns(done)
        assert header == ["JOB", "IS", "COMPUTED", "LAST", "NEXT", "LEFT", "SIZE"]
        assert row[:2] == [JOB, "stopped"]
        assert max(map(len, done.stdout.splitlines())) <= 80

    def test_and_with_all_there_is(self, stopped: Workbench) -> None:
        header, row = columns(stopped.ctl("status", "--wide"))
        assert header[:3] == ["JOB", "PHASE", "STATUS"]
        assert row[:4] == [JOB, "checkpointed", "85", os.uname().nodename]

    def test_one_job_fills_a_screen(self, stopped: Workbench) -> None:
        first, *lines = stopped.ctl("status", JOB).stdout.splitlines()
        assert first == f"{JOB}: stopped"
        facts = {words[0]: " ".join(words[1:]) for words in map(str.split, lines) if words}
        assert facts["directory"] == json.loads((stopped.job / "job.json").read_text())["cwd"]
        assert facts["kept"].endswith("in generations 1, 2, 3")
        assert facts["to"].startswith("resume the same line of dmtcp-run")
        assert lines[-1].endswith("checkpointed and stopped (request)")

    def test_a_beginning_of_its_name_is_enough_unless_others_have_it(self, stopped: Workbench) -> None:
        shutil.copytree(stopped.jobs / JOB, stopped.jobs / f"{JOB}nstration", symlinks=True)
        for command in ("status", "list", "verify", "prune"):
            assert {row["job"] for row in rows(stopped.ctl(command, f"{JOB}n", "--json"))} == {f"{JOB}nstration"}
            assert {row["job"] for row in rows(stopped.ctl(command, JOB, "--json"))} == {JOB}
        done = stopped.ctl("status", JOB[:2])
        assert done.returncode == 10
        assert f"{JOB}, {JOB}nstration" in done.stderr

    def test_watching_ends_when_nothing_runs(self, stopped: Workbench) -> None:
        done = stopped.ctl("status", "--watch")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f" {JOB}: stopped, generation 3\n")

    def test_and_in_json(self, stopped: Workbench) -> None:
        found = status_of(stopped)
        assert (found["job"], found["phase"], found["status"]) == (JOB, "checkpointed", 85)
        assert (found["generation"], found["generations"]) == (3, [1, 2, 3])
        assert 0 < found["saved_s"] < LONG_S
        assert found["size"] == sum(row["size"] for row in rows(stopped.ctl("list", "--json")))
        assert "count.py" in found["command"]
        assert found["heartbeat_s"] is None
        assert found["next_checkpoint"] is None

    def test_looking_changes_nothing(self, stopped: Workbench) -> None:
        before = everything(stopped.jobs)
        for words in (["status"], ["list"], ["verify"], ["prune", "--dry-run"], ["prune", "-n", "--finished"]):
            for form in ([], ["--json"]):
                assert stopped.ctl(*words, *form).returncode == 0
        assert everything(stopped.jobs) == before

    def test_it_needs_no_engine(self, stopped: Workbench) -> None:
        environ = {name: value for name, value in stopped.environ.items() if name != "DMTCP_PREFIX"}
        environ["PATH"] = "/nowhere"
        for command in ("status", "list", "verify"):
            assert stopped.ctl(command, env=environ).returncode == 0

    def test_the_directory_comes_from_an_option_or_the_environment(self, stopped: Workbench, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        assert rows(stopped.ctl("--dir", stopped.jobs, "status", "--json", cwd=elsewhere))
        environ = {**stopped.environ, "DMTCP_RUN_DIR": str(stopped.jobs)}
        assert rows(stopped.ctl("status", "--json", cwd=elsewhere, env=environ))

    def test_several_jobs_are_told_by_name(self, stopped: Workbench) -> None:
        shutil.copytree(stopped.jobs / JOB, stopped.jobs / "another", symlinks=True)
        assert [row["job"] for row in rows(stopped.ctl("status", "--json"))] == ["another", JOB]
        assert [row["job"] for row in rows(stopped.ctl("status", "--json", JOB))] == [JOB]

    def test_a_report_on_one_of_several_can_be_on_all(self, stopped: Workbench) -> None:
        shutil.copytree(stopped.jobs / JOB, stopped.jobs / "another", symlinks=True)
        refused = stopped.ctl("report")
        assert refused.returncode == 10
        assert f"name one of them, or type --all: another, {JOB}" in refused.stderr

    def test_one_damaged_job_hides_no_other(self, stopped: Workbench) -> None:
        shutil.copytree(stopped.jobs / JOB, stopped.jobs / "another", symlinks=True)
        (stopped.jobs / "another" / "job.json").write_text("garbage")
        done = stopped.ctl("status")
        assert done.returncode == 1
        assert [JOB, "stopped"] in [line[:2] for line in columns(done)]
        assert "another/job.json" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr

    def test_a_directory_without_jobs_has_nothing(self, bench: Workbench) -> None:
        bench.jobs.mkdir()
        done = bench.ctl("status")
        assert (done.returncode, done.stdout) == (0, "")
        assert "nothing to show" in done.stderr
        assert rows(bench.ctl("status", "--json")) == []

    def test_a_live_supervisor_is_told_from_a_dead_one(self, bench: Workbench, running: Process) -> None:
        live = status_of(bench)
        assert (live["phase"], live["pid"], live["status"]) == ("running", running.pid, None)
        assert live["host"] == os.uname().nodename
        assert 0 <= live["heartbeat_s"] < 30
        assert bench.ctl("checkpoint", JOB).returncode == 0
        running.kill()
        running.wait(LONG_S)
        dead = status_of(bench)
        assert (dead["phase"], dead["pid"], dead["generation"]) == ("dead", running.pid, 1)
        (bench.folder / "go").touch()
        assert bench.run(*line(bench)).returncode == 7
        ended = status_of(bench)
        assert (ended["phase"], ended["status"], ended["heartbeat_s"]) == ("finished", 7, None)

    def test_a_suspended_job_computes_nothing(self, bench: Workbench, running: Process) -> None:
        running.send_signal(signal.SIGTSTP)
        try:
            wait_until(lambda: status_of(bench)["phase"] == "suspended")
            assert "suspended; fg goes on" in bench.ctl("status").stdout
            computed_s = status_of(bench)["computed_s"]
            wait_until(lambda: status_of(bench)["heartbeat_s"] > 3)
            assert status_of(bench)["computed_s"] == computed_s
            assert status_of(bench)["next_checkpoint"] is None
        finally:
            running.send_signal(signal.SIGCONT)
        wait_until(lambda: status_of(bench)["phase"] == "running")

    def test_stop_wakes_a_suspended_job(self, bench: Workbench, running: Process) -> None:
        running.send_signal(signal.SIGTSTP)
        try:
            wait_until(lambda: status_of(bench)["phase"] == "suspended")
            for refused in (bench.ctl("remove", JOB, "--unfinished"), bench.run(*line(bench))):
                assert refused.returncode == 11
                assert f"is suspended on {os.uname().nodename} as pid {running.pid}" in refused.stderr
                assert f"kill -CONT {running.pid}" in refused.stderr
            assert f"kill -CONT {running.pid}" in bench.ctl("doctor", JOB).stdout
            done = bench.ctl("stop", JOB)
            assert done.returncode == 0, done.stderr
            assert f"job {JOB} was suspended; dmtcp-run (pid {running.pid}) goes on" in done.stderr
        finally:
            running.send_signal(signal.SIGCONT)
        assert running.wait(LONG_S) == 85

    def test_the_next_checkpoint_is_told(self, bench: Workbench, one_engine: EngineHere) -> None:
        assert one_engine
        process = bench.start("--job", JOB, "-i", "90", *line(bench)[4:])
        wait_until(lambda: bench.ctl("status").returncode == 0 and "running" in bench.ctl("status").stdout)
        wait_until(lambda: status_of(bench)["next_checkpoint"])
        due = datetime.fromisoformat(status_of(bench)["next_checkpoint"])
        assert 0 < (due - datetime.now(timezone.utc)).total_seconds() <= 90
        (bench.folder / "go").touch()
        assert process.wait(LONG_S) == 7


class TestFromAnotherMachine:
    """A login node sees nothing but the directory."""

    @pytest.fixture
    def elsewhere(self, bench: Workbench, running: Process, tmp_path: Path) -> Path:
        """Return a copy of a running job's directory as if node17 ran it."""
        assert running.poll() is None
        wait_until((bench.job / "state.json").exists)
        copy = tmp_path / "seen from elsewhere"
        shutil.copytree(bench.jobs, copy, symlinks=True, ignore=shutil.ignore_patterns("staging"))
        record = json.loads((copy / JOB / "lock").read_text())
        (copy / JOB / "lock").write_text(json.dumps({**record, "host": "node17", "boot_id": "another", "pid": 1}))
        return copy

    def test_a_fresh_heartbeat_is_a_running_job(self, bench: Workbench, elsewhere: Path) -> None:
        found = status_of(bench, directory=elsewhere)
        assert (found["phase"], found["host"], found["pid"]) == ("running", "node17", 1)

    def test_a_stale_heartbeat_is_a_dead_one(self, bench: Workbench, elsewhere: Path) -> None:
        long_ago = time.time() - 3600
        os.utime(elsewhere / JOB / "lock", (long_ago, long_ago))
        found = status_of(bench, directory=elsewhere)
        assert (found["phase"], found["host"]) == ("dead", "node17")
        assert found["heartbeat_s"] == pytest.approx(3600, abs=60)
        assert "1:00:0" in bench.ctl("--dir", elsewhere, "status", "--wide").stdout

    def test_a_stale_one_cannot_be_asked_for_anything(self, bench: Workbench, elsewhere: Path) -> None:
        os.utime(elsewhere / JOB / "lock", (0, 0))
        done = bench.ctl("--dir", elsewhere, "checkpoint", JOB, timeout_s=20)
        assert done.returncode == 1
        assert f"job {JOB} is not running" in done.stderr

    def test_a_pid_of_this_machine_does_not_make_it_alive(self, bench: Workbench, elsewhere: Path) -> None:
        record = json.loads((elsewhere / JOB / "lock").read_text())
        (elsewhere / JOB / "lock").write_text(json.dumps({**record, "pid": os.getpid()}))
        os.utime(elsewhere / JOB / "lock", (0, 0))
        assert status_of(bench, directory=elsewhere)["phase"] == "dead"

    def test_what_it_asks_for_is_done_there(self, bench: Workbench, running: Process) -> None:
        """Requests are files: the machine that asks is told by the lock alone, and need not be the one that runs."""
        assert running.poll() is None
        elsewhere = ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname node17; exec "$@"', "-"]
        if subprocess.run([*elsewhere, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("this machine lets no process have another host name")
        argv = [*elsewhere, CTL, "checkpoint", JOB]
        done = subprocess.run(argv, cwd=bench.folder, env=bench.environ, timeout=LONG_S, check=False)
        assert done.returncode == 0
        assert bench.generations == [1]


class TestList:
    """The generations of each job."""

    def test_they_are_told_in_columns_oldest_first(self, stopped: Workbench) -> None:
        header, *found = columns(stopped.ctl("list"))
        assert header[:4] == ["JOB", "GEN", "CREATED", "REASON"]
        assert [row[:2] for row in found] == [[JOB, "1"], [JOB, "2"], [JOB, "3"]]
        assert "LINEAGE" in columns(stopped.ctl("list", "--wide"))[0]

    def test_they_fit_in_eighty_columns(self, stopped: Workbench) -> None:
        lines = stopped.ctl("list").stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert [line.split()[4] for line in lines[1:]] == ["request"] * 3

    def test_and_in_json(self, stopped: Workbench, one_engine: EngineHere) -> None:
        found = rows(stopped.ctl("list", JOB, "--json"))
        assert [row["generation"] for row in found] == [1, 2, 3]
        assert [row["parent"] for row in found] == [None, 1, 2]
        assert {row["reason"] for row in found} == {"request"}
        assert all(row["size"] > 1_000_000 for row in found)
        assert {row["lineage"] for row in found} == {row["attempt"] for row in found} == {1}
        assert {row["engine"] for row in found} == {f"{one_engine.name} {one_engine.version}"}
        assert {row["problem"] for row in found} == {None}
        assert {row["host"] for row in found} == {os.uname().nodename}

    def test_a_damaged_one_is_a_row_that_says_so(self, stopped: Workbench) -> None:
        (stopped.job / "generations" / "000002" / "manifest.json").write_text("garbage")
        done = stopped.ctl("list", "--json")
        assert [row["generation"] for row in rows(done)] == [1, 2, 3]
        assert "manifest.json is damaged" in rows(done)[1]["problem"]
        assert "manifest.json is damaged" in stopped.ctl("list").stdout

    def test_a_job_that_has_none_is_no_lack_of_jobs(self, stopped: Workbench) -> None:
        shutil.rmtree(stopped.job / "generations")
        assert stopped.ctl("list").stderr == "no job here has a generation yet\n"

    def test_half_done_ones_are_no_generations(self, stopped: Workbench) -> None:
        (stopped.job / "generations" / "000003").rename(stopped.job / "generations" / "000004.partial")
        assert [row["generation"] for row in rows(stopped.ctl("list", "--json"))] == [1, 2]


class TestVerify:
    """Every image is read and compared with what was committed."""

    def test_good_ones_are_told_with_0(self, stopped: Workbench) -> None:
        done = stopped.ctl("verify")
        assert done.returncode == 0
        assert [row[:3] for row in columns(done)[1:]] == [[JOB, number, "-"] for number in "123"]

    def test_a_flipped_bit_is_1_and_names_the_file(self, stopped: Workbench) -> None:
        flip_a_bit(image(stopped, 2))
        done = stopped.ctl("verify")
        assert done.returncode == 1
        name = image(stopped, 2).relative_to(stopped.folder)
        (row,) = [line for line in done.stdout.splitlines() if f"{name} does not have the content" in line]
        assert row.split()[1] == "2"
        assert row.endswith(f"{name} does not have the content that was committed")

    def test_a_truncated_image_is_1_and_names_the_file_in_json(self, stopped: Workbench) -> None:
        damaged = image(stopped, 3)
        os.truncate(damaged, 100)
        done = stopped.ctl("verify", "--json")
        assert done.returncode == 1
        assert [row["problem"] is None for row in rows(done)] == [True, True, False]
        assert str(damaged.relative_to(stopped.folder)) in rows(done)[2]["problem"]

    @pytest.mark.parametrize(("number", "status"), [("2", 1), ("3", 0), ("9", 10)])
    def test_one_can_be_chosen(self, stopped: Workbench, number: str, status: int) -> None:
        flip_a_bit(image(stopped, 2))
        done = stopped.ctl("verify", JOB, "--generation", number, "--json")
        assert done.returncode == status
        if status == 10:
            assert "has no generation 9" in done.stderr
            assert "[1, 2, 3]" in done.stderr
        else:
            assert [row["generation"] for row in rows(done)] == [int(number)]


class TestRemove:
    """A job goes with all that is kept of it, but not while it could be resumed."""

    def test_an_unfinished_job_is_removed_only_when_that_is_said(self, stopped: Workbench) -> None:
        before = everything(stopped.jobs)
        refused = stopped.ctl("remove", JOB)
        assert refused.returncode == 1
        assert "has not finished, and can be resumed from generation 3" in refused.stderr
        assert everything(stopped.jobs) == before
        (stopped.folder / "out.txt").write_text("kept\n")
        done = stopped.ctl("remove", JOB, "--unfinished")
        assert (done.returncode, done.stdout) == (0, f"removed {JOB}\n")
        wait_until(lambda: [path.name for path in stopped.jobs.iterdir()] == ["README"])
        assert (stopped.folder / "out.txt").read_text() == "kept\n"

    def test_a_finished_job_is_removed_by_the_name_that_other_tools_have_for_it(self, stopped: Workbench) -> None:
        state = json.loads((stopped.job / "state.json").read_text())
        (stopped.job / "state.json").write_text(json.dumps({**state, "phase": "finished", "status": 0}))
        assert stopped.ctl("remove").returncode == 2
        assert stopped.ctl("rm", JOB[:3]).returncode == 0
        assert rows(stopped.ctl("list", "--json")) == []

    def test_all_finished_jobs_go_at_once_and_others_stay(self, stopped: Workbench) -> None:
        assert stopped.ctl("remove", "--finished").stdout == "removed none\n"
        job = stopped.job
        state = json.loads((job / "state.json").read_text())
        (job / "state.json").write_text(json.dumps({**state, "phase": "finished", "status": 0}))
        assert stopped.ctl("remove", "--finished").stdout == f"removed {JOB}\n"
        assert not job.exists()

    def test_a_running_job_is_not_removed(self, bench: Workbench, running: Process) -> None:
        for options in ([], ["--unfinished"]):
            refused = bench.ctl("remove", JOB, *options)
            assert refused.returncode == 11
            assert f"job {JOB} is running" in refused.stderr
            assert f"'dmtcp-ctl stop {JOB}' stops it first" in refused.stderr
        assert running.poll() is None
        assert bench.job.is_dir()


class TestPrune:
    """Old generations are removed, never what is needed."""

    def test_a_dry_run_shows_the_plan_and_changes_nothing(self, stopped: Workbench) -> None:
        before = everything(stopped.jobs)
        plan = rows(stopped.ctl("prune", "--keep", "1", "--dry-run", "--json"))
        assert [(row["generation"], row["keep"]) for row in plan] == [(3, True), (2, False), (1, False)]
        assert {row["rule"] for row in plan} == {"newest 1 of 1", "older than the newest 1"}
        assert everything(stopped.jobs) == before
        assert rows(stopped.ctl("prune", "--keep", "1", "--json")) == plan, "the plan is what is done"
        assert stopped.generations == [3]

    def test_it_is_told_in_columns_and_written_down(self, stopped: Workbench) -> None:
        done = stopped.ctl("prune")
        assert done.returncode == 0
        assert columns(done)[0] == ["JOB", "GENERATION", "KEEP", "RULE"]
        assert stopped.generations == [2, 3]
        assert [line["generation"] for line in stopped.history if line["event"] == "pruned"] == [1]

    def test_an_unfinished_job_keeps_its_newest_whatever_is_asked(self, stopped: Workbench) -> None:
        assert stopped.ctl("prune", "--finished").returncode == 0
        assert stopped.generations == [2, 3]

    def test_a_finished_job_can_lose_all_of_them(self, stopped: Workbench) -> None:
        state = json.loads((stopped.job / "state.json").read_text())
        (stopped.job / "state.json").write_text(json.dumps({**state, "phase": "finished", "status": 0}))
        assert stopped.ctl("prune").returncode == 0
        assert stopped.generations == [2, 3]
        assert stopped.ctl("prune", "--finished").returncode == 0
        assert stopped.generations == []

    def test_pruning_is_no_attempt(self, stopped: Workbench) -> None:
        before = status_of(stopped)
        assert stopped.ctl("prune", "--keep", "1").returncode == 0
        after = status_of(stopped)
        assert after["size"] < before["size"]
        assert after == {**before, "generations": [3], "size": after["size"]}

    def test_a_dead_job_stays_dead_for_the_next_attempt_to_clean_up_after(self, stopped: Workbench) -> None:
        lock = stopped.job / "lock"
        record = {**json.loads(lock.read_text()), "released": False, "pid": 2**22, "pid_started": 5.0}
        lock.write_text(json.dumps(record))
        assert stopped.ctl("prune", "--keep", "1").returncode == 0
        found = json.loads(lock.read_text())
        assert (found["released"], found["pid"], found["host"]) == (False, 2**22, record["host"])

    def test_what_a_killed_prune_left_behind_is_removed_by_the_next(self, stopped: Workbench) -> None:
        left = stopped.job / "generations/000001.partial"
        (stopped.job / "generations/000001").rename(left)
        assert stopped.ctl("prune").returncode == 0
        wait_until(lambda: not left.exists())
        assert stopped.generations == [2, 3]

    def test_a_running_job_is_refused_and_loses_nothing(self, bench: Workbench, running: Process) -> None:
        for _ in range(2):
            assert bench.ctl("checkpoint", JOB).returncode == 0
        done = bench.ctl("prune", "--keep", "1")
        assert done.returncode == 11
        assert f"as pid {running.pid}" in done.stderr
        assert bench.generations == [1, 2]
        assert status_of(bench)["pid"] == running.pid

    def test_a_pruned_job_resumes(self, bench: Workbench, running: Process) -> None:
        for _ in range(2):
            assert bench.ctl("checkpoint", JOB).returncode == 0
        kill_all(running)
        assert bench.ctl("prune", "--keep", "1").returncode == 0
        (bench.folder / "go").touch()
        done = bench.run(*line(bench))
        assert done.returncode == 7
        assert "resumed generation 2" in done.stderr
        bench.assert_counted(1)


class TestOrders:
    """A running job is asked for something."""

    def test_checkpoint_commits_a_generation_and_the_program_goes_on(self, bench: Workbench, running: Process) -> None:
        done = bench.ctl("checkpoint", JOB)
        assert (done.returncode, done.stdout) == (0, "generation 1 is committed\n")
        assert bench.generations == [1]
        assert bench.ctl("verify").returncode == 0
        assert bench.history[-1]["reason"] == "request"
        (bench.folder / "go").touch()
        assert running.wait(LONG_S) == 7
        bench.assert_counted(1)

    def test_stop_is_the_last_checkpoint_and_85(self, bench: Workbench, running: Process) -> None:
        done = bench.ctl("stop", JOB)
        assert (done.returncode, done.stdout) == (0, "generation 1 is committed\n")
        assert running.wait(LONG_S) == 85
        assert status_of(bench)["phase"] == "checkpointed"
        assert bench.manifest["program_stopped"]
        (bench.folder / "go").touch()
        assert bench.run(*line(bench)).returncode == 7
        bench.assert_counted(1)

    def test_several_at_the_same_moment_are_all_answered(self, bench: Workbench, running: Process) -> None:
        assert running.poll() is None
        asking = [
            subprocess.Popen([CTL, "checkpoint", JOB], cwd=bench.folder, env=bench.environ, stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        assert [one.wait(LONG_S) for one in asking] == [0, 0, 0]
        for one in asking:
            assert one.stdout is not None
            assert b"is committed" in one.stdout.read()
            one.stdout.close()

    def test_one_that_does_not_answer_in_time_is_11_and_its_request_is_withdrawn(
        self, bench: Workbench, running: Process
    ) -> None:
        running.send_signal(signal.SIGSTOP)
        try:
            done = bench.ctl("checkpoint", JOB, "--timeout", "0.5", timeout_s=30)
        finally:
            running.send_signal(signal.SIGCONT)
        assert done.returncode == 11
        assert f"(pid {running.pid}) did not answer within" in done.stderr
        (bench.folder / "go").touch()
        assert running.wait(LONG_S) == 7
        assert bench.generations == []

    def test_one_whose_supervisor_is_killed_meanwhile_is_not_waited_for(
        self, bench: Workbench, running: Process
    ) -> None:
        running.send_signal(signal.SIGSTOP)
        argv = [CTL, "checkpoint", JOB]
        with subprocess.Popen(argv, cwd=bench.folder, env=bench.environ, stderr=subprocess.PIPE) as asking:
            wait_until(lambda: list((bench.job / "requests").glob("*.ask")))
            running.kill()
            running.wait(LONG_S)
            try:
                assert asking.wait(15) == 1
            finally:
                asking.kill()

    def test_the_only_job_that_runs_need_not_be_named(self, bench: Workbench, running: Process) -> None:
        shutil.copytree(
            bench.jobs / JOB, bench.jobs / "another", symlinks=True, ignore=shutil.ignore_patterns("lock", "staging")
        )
        assert bench.ctl("checkpoint").returncode == 0
        assert bench.ctl("stop", JOB[:3]).returncode == 0
        assert running.wait(LONG_S) == 85
        done = bench.ctl("stop")
        assert done.returncode == 10
        assert f"another, {JOB}" in done.stderr

    @pytest.mark.parametrize("order", ["checkpoint", "stop"])
    def test_a_job_that_does_not_run_is_1_with_where_to_look(self, stopped: Workbench, order: str) -> None:
        done = stopped.ctl(order, JOB)
        assert done.returncode == 1
        assert done.stderr.startswith(f"dmtcp-ctl: job {JOB} is not running")
        assert f"dmtcp-ctl status {JOB}" in done.stderr
        assert len(done.stderr.splitlines()) == 1


class TestDoctor:
    """Whether a job can be resumed on this machine; dmtcp-run asks the same before it resumes."""

    def test_what_is_as_it_was_is_ok(self, stopped: Workbench) -> None:
        done = stopped.ctl("doctor", JOB, "--json")
        assert done.returncode == 0, done.stdout
        assert {row["level"] for row in rows(done)} == {"ok"}
        assert [row["about"] for row in rows(done)][:3] == ["images", "directory", "engine"]

    def test_a_damaged_image_is_a_warning_while_an_older_one_is_good(self, stopped: Workbench) -> None:
        flip_a_bit(image(stopped, 3))
        first, second, *_ = rows(stopped.ctl("doctor", JOB, "--json"))
        assert (first["level"], second["level"]) == ("warning", "ok")
        assert second["finding"].startswith("generation 2 ")

    def test_a_directory_that_is_gone_is_a_problem(self, stopped: Workbench) -> None:
        path = stopped.job / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "cwd": "/no/such/folder"}))
        done = stopped.ctl("doctor", JOB)
        assert done.returncode == 1
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("problem")]
        assert "/no/such/folder" in line

    def test_a_directory_that_was_moved_is_a_problem_with_what_to_type(self, stopped: Workbench) -> None:
        path, old = stopped.job / "job.json", "/no/such/folder"
        moved = {"cwd": old, "kept_in": f"{old}/.dmtcp-run/{JOB}"}
        path.write_text(json.dumps({**json.loads(path.read_text()), **moved}))
        done = stopped.ctl("doctor", JOB)
        assert done.returncode == 1
        assert f"type 'ln -s {stopped.folder.resolve()} {old}'" in done.stdout

    def test_a_processor_that_lacks_instructions_is_refused_with_what_to_ask_for(
        self, bench: Workbench, running: Process
    ) -> None:
        assert bench.ctl("stop", JOB).returncode == 0
        assert running.wait(LONG_S) == 85
        path = bench.job / "generations" / "000001" / "manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["check"]
        manifest["host"] |= {"name": "node17", "cpu_flags": [*manifest["host"]["cpu_flags"], "avx999"]}
        path.write_text(json.dumps(manifest))
        done = bench.ctl("doctor", JOB)
        assert done.returncode == 1
        assert "--constraint=avx999 or --nodelist=node17" in done.stdout
        refused = bench.run(*line(bench))
        assert refused.returncode == 125
        assert "--nodelist=node17" in refused.stderr
        (bench.folder / "go").touch()
        assert bench.run("--accept-changed-state", *line(bench)).returncode == 7


class TestExitStatus:
    """The numbers that ``--help`` states."""

    @pytest.mark.parametrize("command", ["status", "list", "verify", "prune", "checkpoint", "stop"])
    def test_a_job_that_is_not_there_is_10_and_the_others_are_named(self, stopped: Workbench, command: str) -> None:
        done = stopped.ctl(command, "nothing")
        assert done.returncode == 10
        assert done.stdout == ""
        assert done.stderr.startswith("dmtcp-ctl: there is no job 'nothing'")
        assert done.stderr.rstrip().endswith(JOB)

    @pytest.mark.parametrize("command", ["status", "list", "verify", "prune"])
    def test_a_directory_that_is_not_there_is_10_and_is_not_made(self, bench: Workbench, command: str) -> None:
        done = bench.ctl(command)
        assert done.returncode == 10
        assert "--dir" in done.stderr
        assert not bench.jobs.exists()

    @pytest.mark.parametrize("name", ["resume", "start", "run", "restart", "continue"])
    def test_a_command_that_would_resume_is_answered_with_the_same_line(self, bench: Workbench, name: str) -> None:
        done = bench.ctl(name, JOB)
        assert done.returncode == 2
        assert f"there is no command {name}: type the same dmtcp-run line again" in done.stderr

    @pytest.mark.parametrize(
        "words",
        [
            ["--no-such-option"],
            ["no-such-command"],
            ["status", "one", "two"],
            ["verify", "--generation", "0"],
            ["verify", "--generation", "x"],
            ["prune", "--keep", "0"],
            ["checkpoint", JOB, "--timeout", "soon"],
            ["status", "../../etc/passwd"],
            ["status", "-x"],
            ["status", ""],
        ],
    )
    def test_what_cannot_be_meant_is_2_in_one_line(self, stopped: Workbench, words: list[str]) -> None:
        before = everything(stopped.jobs)
        done = stopped.ctl(*words)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("dmtcp-ctl: ")
        assert len(done.stderr.splitlines()) == 1
        assert everything(stopped.jobs) == before

    @pytest.mark.parametrize("words", [["--help"], ["-h"], ["status", "--help"], ["--version"]])
    def test_asking_for_help_is_0(self, bench: Workbench, words: list[str]) -> None:
        done = bench.ctl(*words)
        assert (done.returncode, done.stderr) == (0, "")

    def test_help_states_them_all(self, bench: Workbench) -> None:
        text = " ".join(bench.ctl("--help").stdout.split())
        assert "0 success 1 a problem was found 2 wrong usage 10 no such job or generation 11" in text
        assert "130 interrupted" in text

    def test_being_interrupted_is_130_without_a_traceback(self, bench: Workbench, running: Process) -> None:
        running.send_signal(signal.SIGSTOP)
        argv = [CTL, "checkpoint", JOB]
        with subprocess.Popen(argv, cwd=bench.folder, env=bench.environ, stderr=subprocess.PIPE) as asking:
            wait_until(lambda: list((bench.job / "requests").glob("*.ask")))
            asking.send_signal(signal.SIGINT)
            assert asking.wait(LONG_S) == 130
            assert asking.stderr is not None
            assert b"Traceback" not in asking.stderr.read()
        assert list((bench.job / "requests").iterdir()) == [], "what was asked for is withdrawn"
        running.send_signal(signal.SIGCONT)

    def test_a_reader_that_goes_away_is_no_traceback(self, stopped: Workbench) -> None:
        script = f'"{CTL}" status | true; exit "${{PIPESTATUS[0]}}"'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=stopped.folder,
            env=stopped.environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr
