"""Second copies elsewhere: a resume without the job's directory, and mirrors that die, hang, fill up or refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from kit import servers
from kit.jobs import generations_of
from kit.long_form import NO_LONG_TESTS
from kit.places import TESTS
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kit.bench import Workbench

    Process = subprocess.Popen[bytes]

KINDS = ("file", "command", "sftp", "root", "s3")
STEPS = 250


CAPITALS = """
import sys, time
for line in sys.stdin:
    print(line.upper(), end="", flush=True)
    time.sleep(0.05)
"""


@dataclass
class Mirror:
    """A mirror at URL, what reaches it, and the server behind it, if there is one."""

    url: str
    data: Path
    environ: dict[str, str] = field(default_factory=dict)
    server: servers.Server | None = None

    def complete(self) -> list[int]:
        """Return the generations there that have a manifest."""
        return sorted(int(path.parent.name) for path in self.data.glob("*/generations/*/manifest.json"))

    def wait_generation(self, number: int) -> None:
        """Wait until generation NUMBER is there, or a newer one."""
        wait_until(lambda: (self.complete() or [0])[-1] >= number)


@pytest.fixture
def mirror_of(tmp_path: Path) -> Iterator[Callable[[str], Mirror]]:
    """Give a function that makes a mirror of a kind, with its server running."""
    made = []

    def make(kind: str) -> Mirror:
        if kind in ("file", "command"):
            data = tmp_path / "mirror"
            words = f"file:{data}" if kind == "file" else f"command:{TESTS / 'kit' / 'mirror-tool'} {data}"
            return Mirror(words, data)
        if (why := servers.missing(kind)) is not None:
            pytest.skip(why)
        if package := {"root": "fsspec_xrootd", "s3": "botocore"}.get(kind):
            pytest.importorskip(package)
        server = servers.make(kind, tmp_path / kind)
        server.start()
        made.append(server)
        return Mirror(server.url, server.data, server.environ, server)

    yield make
    for server in made:
        server.stop()


def line(bench: Workbench, mirror: Mirror, *options: str, steps: int = STEPS, **count: Any) -> list[str]:
    """Return the words of a line with MIRROR, whose program counts STEPS."""
    program = bench.counting(steps, **count)
    return ["--job", "job", "-i", "1", "--mirror", mirror.url, "--stdout", "out.txt", *options, *program]


def environ(bench: Workbench, mirror: Mirror) -> dict[str, str]:
    """Return the environment of a line with MIRROR."""
    return {**bench.environ, **mirror.environ}


def start(bench: Workbench, mirror: Mirror, *options: str, **count: Any) -> Process:
    """Start the line of `line`."""
    return bench.start(*line(bench, mirror, *options, **count), env=environ(bench, mirror))


def mirrors_in_status(bench: Workbench) -> list[dict[str, Any]]:
    """Return what ``dmtcp-ctl status`` says of the mirrors of the only job."""
    rows = json.loads(bench.ctl("status", "--json").stdout) if bench.jobs.exists() else []
    found: list[dict[str, Any]] = [mirror for row in rows for mirror in row["mirrors"] or ()]
    return found


def problem_in_status(bench: Workbench) -> str | None:
    """Return what ``dmtcp-ctl status`` says is the matter with a mirror."""
    return next((one["problem"] for one in mirrors_in_status(bench) if one["problem"]), None)


def assert_nowhere(secret: str, bench: Workbench, *more: str) -> None:
    """Assert that SECRET stands in no file of the job, in no message, and in MORE."""
    assert secret not in bench.said()
    for text in more:
        assert secret not in text
    for path in bench.jobs.rglob("*"):
        # the program's own memory has its environment
        if (path.is_file() and "generations" not in path.parts) or path.name == "manifest.json":
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("one_engine")
def test_a_killed_job_goes_on_where_its_directory_is_not(
    bench: Workbench, kind: str, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of(kind)
    # on a busy machine the copies take longer than the steps
    counting = {"ledger": "ledger.txt", "until": "go"}
    process = start(bench, mirror, **counting)
    mirror.wait_generation(2)
    # the mirror has looked since the checkpoint: the record of a file that every step changes has reached it
    wait_until(lambda: _index(mirror)["written"] > _manifest(mirror)["created"])
    kill_all(process)
    shutil.rmtree(bench.jobs)
    (bench.folder / "go").touch()
    assert start(bench, mirror, **counting).wait(LONG_S) == 0
    assert bench.said().count("resumed generation") == 1
    bench.assert_counted(STEPS)
    bench.assert_done_once(STEPS)
    assert (bench.job / "lock").stat().st_mode & 0o077 == 0


def _index(mirror: Mirror) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((mirror.data / "job" / "index.json").read_text())
    return found


def _manifest(mirror: Mirror) -> dict[str, Any]:
    path = mirror.data / "job" / "generations" / f"{mirror.complete()[-1]:06}" / "manifest.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.usefixtures("one_engine")
def test_what_a_tool_was_to_copy_when_all_was_killed_is_removed(bench: Workbench, tmp_path: Path) -> None:
    tool, hangs = tmp_path / "tool", tmp_path / "hangs"
    hang = f"[ $2 != put ] || [ ! -e {hangs} ] || exec sleep 600"
    tool.write_text(f"#!/bin/sh\n{hang}\nexec {TESTS}/kit/mirror-tool $*\n")
    tool.chmod(0o755)
    mirror = Mirror(f"command:{tool} {tmp_path}/mirror", tmp_path / "mirror")
    mirror.data.mkdir()
    hangs.touch()
    process = start(bench, mirror, steps=50)
    left = wait_until(lambda: next(bench.temporary.glob("*/file"), None))
    bench.wait_generations(1, process)
    kill_all(process)
    assert left.exists()
    hangs.unlink()
    assert start(bench, mirror, steps=50).wait(LONG_S) == 0
    assert not left.exists()


@pytest.mark.usefixtures("one_of_each")
def test_a_stopped_job_goes_on_elsewhere_under_each_engine(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of("file")
    for _ in range(2):
        process = start(bench, mirror, ledger="ledger.txt", write="written.txt")
        generation = (mirror.complete() or [0])[-1] + 1
        bench.wait_generation(generation)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 85
        assert f"generation {bench.newest} is at mirror {mirror.url}" in bench.said()
        shutil.rmtree(bench.jobs)
    assert start(bench, mirror, ledger="ledger.txt", write="written.txt").wait(LONG_S) == 0
    bench.assert_counted(STEPS)
    bench.assert_done_once(STEPS)
    bench.assert_done_once(STEPS, "written.txt")


@pytest.mark.usefixtures("one_engine")
def test_what_came_through_a_pipe_goes_along(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("file")
    text = (
        "import sys, time\nfor line in sys.stdin:\n    print(line.upper(), end='', flush=True)\n    time.sleep(0.05)\n"
    )
    words = ["--job", "job", "-i", "1", "--mirror", mirror.url, "--stdout", "out.txt", *bench.python("up.py", text)]
    lines = "".join(f"line {number}\n" for number in range(100))
    process = bench.start(*words, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(lines[:600].encode())
    process.stdin.flush()
    mirror.wait_generation(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    process.stdin.close()
    shutil.rmtree(bench.jobs)
    done = bench.run(*words, stdin=None, input=lines)
    assert done.returncode == 0, done.stderr
    assert bench.said("out.txt") == lines.upper()


@pytest.mark.usefixtures("one_engine")
def test_an_unrecorded_change_is_refused_by_name(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("file")
    process = start(bench, mirror, ledger="ledger.txt")
    mirror.wait_generation(2)
    process.send_signal(signal.SIGTERM)
    process.wait(LONG_S)
    # as if the mirror had been lost right after the last generation, and the program had run on
    index = mirror.data / "job" / "index.json"
    index.write_text(index.read_text().replace('"ended":"checkpointed"', '"ended":null'))
    for path in mirror.data.glob("job/generations/*/manifest.json"):
        values = json.loads(path.read_text())
        del values["check"]
        path.write_text(json.dumps({**values, "program_stopped": False}))
    with (bench.folder / "ledger.txt").open("a") as file:
        file.write("77\n")
    shutil.rmtree(bench.jobs)
    again = start(bench, mirror, ledger="ledger.txt")
    assert again.wait(LONG_S) == 125
    assert "ledger.txt, which the program changes, was changed by it" in bench.said()


@pytest.mark.usefixtures("one_engine")
def test_a_server_that_dies_in_mid_copy_stops_nothing_and_gets_the_rest_later(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of("sftp")
    assert mirror.server is not None
    process = start(bench, mirror, "-i", "5", "--mirror-rate", "20M", steps=10_000, megabytes=30)
    wait_until(lambda: any((one["share"] or 0) > 0 for one in mirrors_in_status(bench)))
    assert mirror.complete() == []
    mirror.server.stop()
    wait_until(lambda: problem_in_status(bench))
    bench.wait_generations(2, process)
    # while it is being checkpointed, that is said in its place
    wait_until(lambda: "mirror down" in bench.ctl("status").stdout)
    assert "failing" in bench.ctl("status", "job").stdout
    mirror.server.start()
    wait_until(lambda: mirror.complete() and problem_in_status(bench) is None)
    assert "answers again" in bench.said()
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    verified = bench.ctl("verify", "--mirror", mirror.url, env=environ(bench, mirror))
    assert verified.returncode == 0, verified.stdout


@pytest.mark.usefixtures("one_engine")
def test_a_copy_that_was_cut_off_is_continued(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("root")
    process = start(bench, mirror, "--mirror-rate", "4M", "-i", "0", steps=10_000, megabytes=30)
    bench.wait_lines(1, process)
    assert bench.ctl("checkpoint", "job").returncode == 0
    image = wait_until(lambda: next(mirror.data.glob("job/generations/000001/*.dmtcp"), None))
    wait_until(lambda: image.stat().st_size > 4e6)
    kill_all(process)
    size, inode = image.stat().st_size, image.stat().st_ino
    assert mirror.complete() == []
    process = start(bench, mirror, "-i", "0", steps=10_000, megabytes=30)
    mirror.wait_generation(1)
    assert image.stat().st_ino == inode
    assert image.stat().st_size > size
    process.send_signal(signal.SIGINT)
    process.wait(LONG_S)
    assert bench.ctl("verify", "--mirror", mirror.url, env=environ(bench, mirror)).returncode == 0


@pytest.mark.usefixtures("one_engine")
@NO_LONG_TESTS
def test_a_server_that_hangs_is_given_up_and_tried_again(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("s3")
    assert mirror.server is not None
    assert mirror.server.process is not None
    process = start(bench, mirror, steps=10_000)
    mirror.wait_generation(1)
    mirror.server.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: problem_in_status(bench), 200)
        bench.wait_generations(2, process)
        newest = bench.newest
    finally:
        mirror.server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: (mirror.complete() or [0])[-1] > newest, 200)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.usefixtures("one_engine")
def test_a_mirror_that_is_full_is_named_and_takes_no_part_for_whole(bench: Workbench, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", place], check=True)
    try:
        mirror = Mirror(f"file:{place}/mirror", place / "mirror")
        process = start(bench, mirror, steps=10_000, megabytes=30)
        wait_until(lambda: problem_in_status(bench))
        assert "No space left" in bench.said()
        bench.wait_generations(1, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 85
        assert mirror.complete() == []
        assert f"generation {bench.newest} is not at mirror file:{place}/mirror" in bench.said()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("kind", ["sftp", "s3"])
@pytest.mark.usefixtures("one_engine")
def test_credentials_that_are_refused_are_never_shown(
    bench: Workbench, kind: str, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror, secret = mirror_of(kind), "Wr0ng-Secret"
    assert mirror.server is not None
    scheme, rest = mirror.url.split("://")
    url = f"{scheme}://someone:{secret}@{rest.partition('@')[2] or rest}"
    open_first = Mirror("file:" + str(bench.folder.parent / "other"), bench.folder.parent / "other")
    refused = bench.run(*line(bench, Mirror(url, mirror.data)), env=environ(bench, mirror))
    assert refused.returncode == 2
    assert secret not in refused.stderr
    mirrors = f"{open_first.url} {url}"
    words = [word for word in line(bench, open_first, steps=10_000) if word not in ("--mirror", open_first.url)]
    process = bench.start(*words, env={**environ(bench, mirror), "DMTCP_RUN_MIRROR": mirrors})
    wait_until(lambda: problem_in_status(bench))
    open_first.wait_generation(1)
    seen = " ".join(word for one in psutil.process_iter(["cmdline"]) for word in one.info["cmdline"] or ())
    program = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    counting = [
        one for one in program if "/count.py" in str(one.cmdline()[1:2]) and "dmtcp-run" not in one.cmdline()[1]
    ]
    assert counting
    assert all("DMTCP_RUN_MIRROR" not in one.environ() for one in counting)
    status = bench.ctl("status", "job").stdout
    settings = bench.ctl("config", env={**bench.environ, "DMTCP_RUN_MIRROR": mirrors}).stdout
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    assert "***" in settings
    assert_nowhere(secret, bench, seen, status, settings)


@pytest.mark.parametrize(("rate", "where"), [("1G", "is at mirror"), ("1M", "is not at mirror")])
@pytest.mark.usefixtures("one_engine")
def test_the_last_checkpoint_before_a_limit_is_copied_in_the_time_left_or_left_here(
    bench: Workbench, rate: str, where: str, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of("file")
    options = ["-i", "0", "--time-limit", "26", "--lead", "18", "--mirror-rate", rate]
    process = start(bench, mirror, *options, steps=10_000, megabytes=30)
    assert process.wait(LONG_S) == 85
    bench.said_with(f"generation 1 {where} {mirror.url}")
    assert mirror.complete() == ([1] if rate == "1G" else [])


@pytest.mark.usefixtures("one_engine")
def test_old_generations_go_at_the_mirror_too(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("file")
    process = start(bench, mirror, "--keep", "2", steps=10_000)
    mirror.wait_generation(4)
    wait_until(lambda: len(mirror.complete()) <= 2)
    process.send_signal(signal.SIGTERM)
    process.wait(LONG_S)
    folders = {path.name for path in (mirror.data / "job" / "generations").iterdir()}
    assert folders == {f"{number:06}" for number in mirror.complete()}


@pytest.mark.usefixtures("one_engine")
def test_a_job_that_runs_is_not_resumed_elsewhere(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("file")
    process = start(bench, mirror, steps=10_000)
    mirror.wait_generation(1)
    second = bench.run("--dir", "elsewhere", *line(bench, mirror, steps=10_000))
    assert second.returncode == 11
    assert f"pid {process.pid}" in second.stderr
    process.send_signal(signal.SIGTERM)
    process.wait(LONG_S)


@pytest.mark.usefixtures("one_engine")
def test_a_mirror_that_cannot_be_asked_is_not_taken_for_an_empty_one(bench: Workbench) -> None:
    gone = Mirror(f"file:{bench.folder}/not/mounted", Path("/nonexistent"))
    refused = bench.run(*line(bench, gone, steps=1))
    assert refused.returncode == 125
    assert "whether there is something to resume cannot be known" in refused.stderr
    assert bench.run("--fresh", *line(bench, gone, steps=1)).returncode == 0


@pytest.mark.usefixtures("one_engine")
def test_a_finished_job_is_not_resumed_from_its_mirror(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("file")
    assert start(bench, mirror, steps=25).wait(LONG_S) == 0
    shutil.rmtree(bench.jobs)
    assert start(bench, mirror, steps=25).wait(LONG_S) == 0
    assert "resumed" not in bench.said()
    assert bench.events.count("finished") == 2
    bench.assert_counted(25)


@pytest.mark.usefixtures("one_engine")
def test_a_directory_that_was_overtaken_goes_on_from_the_mirror(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of("file")
    first, second = bench.folder / "of-one-machine", bench.folder / "of-another"
    for kept in (first, second, bench.folder / "of-the-first-again"):
        process = start(bench, mirror, steps=10_000)
        mirror.wait_generation((mirror.complete() or [0])[-1] + 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 85
        bench.jobs.rename(kept)
        if kept == second:
            first.rename(bench.jobs)
    assert bench.said().count("resumed generation") == 2
    newest = generations_of(bench.folder / "of-the-first-again" / "job")[-1]
    assert newest > generations_of(second / "job")[-1]


def stop(process: Process) -> None:
    """Stop a dmtcp-run, which takes a last checkpoint."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85


def worker_of(process: Process) -> psutil.Process | None:
    """Return the process of a dmtcp-run that copies to its mirror."""
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if "dmtcp_py.mirror.worker" in " ".join(child.cmdline()):
                return child
    return None


def kill_worker(process: Process) -> None:
    """Kill the process that copies, and wait until another one has taken its place."""
    first = wait_until(lambda: worker_of(process))
    first.kill()
    wait_until(lambda: (worker_of(process) or first) != first)


@pytest.mark.usefixtures("one_engine")
@NO_LONG_TESTS
def test_a_directory_that_was_overtaken_is_refused_each_time_while_the_job_runs_elsewhere(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of("file")
    first = start(bench, mirror, steps=10_000)
    mirror.wait_generation(1)
    stop(first)
    bench.jobs.rename(bench.folder / "of-one-machine")
    second = start(bench, mirror, steps=10_000)
    mirror.wait_generation(mirror.complete()[-1] + 1)
    for _ in range(2):
        refused = bench.run("--dir", "of-one-machine", *line(bench, mirror, steps=10_000))
        assert refused.returncode == 11, refused.stderr
        assert f"pid {second.pid}" in refused.stderr
    fetched = bench.ctl("--dir", "of-one-machine", "fetch", "job", "--mirror", mirror.url)
    assert fetched.returncode == 11, fetched.stderr
    stop(second)


@pytest.mark.usefixtures("one_engine")
@NO_LONG_TESTS
def test_a_directory_that_was_overtaken_goes_on_from_the_newest_generation(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror, other = mirror_of("file"), bench.folder / "of-one-machine"
    stop_at_start(1, bench, mirror)
    shared = bench.newest
    shutil.copytree(bench.jobs, other, symlinks=True)
    shutil.rmtree(bench.jobs)
    stop_at_start(2, bench, mirror)
    newest = bench.newest
    # the mirror still has the generation that both have
    assert {shared, newest} <= set(mirror.complete())
    shutil.rmtree(bench.jobs)
    other.rename(bench.jobs)
    last = start(bench, mirror)
    assert last.wait(LONG_S) == 0
    assert [one["generation"] for one in bench.history if one["event"] == "resumed"] == [shared, newest]
    bench.assert_counted(STEPS)


def stop_at_start(number: int, bench: Workbench, mirror: Mirror) -> None:
    """Run the line, and stop it at start NUMBER of the program: it commits one generation, which is at MIRROR then."""
    process = start(bench, mirror, "-i", "0")
    # a history that is fetched has the starts elsewhere
    wait_until(lambda: sum(event in ("started", "resumed") for event in bench.events) == number)
    stop(process)
    assert bench.newest in mirror.complete()


@pytest.mark.usefixtures("one_engine")
@NO_LONG_TESTS
def test_a_process_that_copies_is_waited_for_after_it_was_started_again(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of("file")
    process = start(bench, mirror, "-i", "0", "--mirror-rate", "4M", steps=10_000, megabytes=30)
    bench.wait_lines(1, process)
    kill_worker(process)
    stop(process)
    assert f"generation 1 is at mirror {mirror.url}" in bench.said()
    assert mirror.complete() == [1]


@pytest.mark.usefixtures("one_engine")
def test_a_process_that_copies_is_started_again_while_the_gate_is_closed(
    bench: Workbench, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror, gate = mirror_of("file"), bench.folder / "open"
    gate.touch()
    process = start(bench, mirror, "--gate", f"test -e {gate}", "--gate-every", "1", steps=10_000)
    mirror.wait_generation(1)
    gate.unlink()
    bench.wait_said("the gate is closed", process)
    mirror.wait_generation(bench.newest)
    kill_worker(process)
    stop(process)
    assert f"generation {bench.newest} is at mirror {mirror.url}" in bench.said()


@pytest.mark.usefixtures("one_engine")
def test_ctl_lists_verifies_and_fetches(bench: Workbench, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of("file")
    process = start(bench, mirror, steps=10_000)
    mirror.wait_generation(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    shutil.rmtree(bench.jobs)
    rows = json.loads(bench.ctl("list", "--json", "--mirror", mirror.url).stdout)
    assert [row["generation"] for row in rows] == mirror.complete()
    assert {row["mirror"] for row in rows} == {mirror.url}
    older, newest = mirror.complete()
    fetched = bench.ctl("fetch", "job", "--mirror", mirror.url, "--generation", str(older))
    assert fetched.returncode == 0, fetched.stderr
    assert bench.generations == [older]
    assert bench.ctl("verify", "job").returncode == 0
    damaged = max(
        (mirror.data / "job" / "generations" / f"{newest:06}").iterdir(), key=lambda path: path.stat().st_size
    )
    with damaged.open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    verified = bench.ctl("verify", "--mirror", mirror.url)
    assert verified.returncode == 1
    assert "does not have the content" in verified.stdout
    shutil.rmtree(bench.jobs)
    assert bench.ctl("fetch", "job", "--mirror", mirror.url).returncode == 0
    assert bench.generations == [older]
    assert bench.ctl("fetch", "none", "--mirror", mirror.url).returncode == 10
