"""What no library records: what static programs, Go and others write by name under CRIU is never written twice."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest
from msgspec.structs import replace

from dmtcp_py.native import built
from dmtcp_py.rollback import undo
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.records import encode
from dmtcp_py.store.verify import hash_file, read_manifest
from kit.processes import kill_all
from kit.programs import without_environment
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.skipif(built("files") is None, reason="built without a C compiler")
FAILED = 125
STEPS = 40
ACCEPT = "--accept-changed-files"

BY_NAME_IN_C = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words)
{
    FILE *held = fopen(count > 3 ? words[3] : "held.txt", "w");
    struct timespec pause = { 0, 100000000 };
    for (int step = 0; step < atoi(words[1]); step++) {
        FILE *rows = count == 3 ? fopen(words[2], "a") : NULL;
        if (rows && (fprintf(rows, "%d\n", step) < 0 || fclose(rows)))
            return 1;
        printf("%d\n", step);
        fprintf(held, "%d\n", step);
        fflush(stdout);
        fflush(held);
        nanosleep(&pause, NULL);
    }
    return 7;
}
"""
BY_NAME_IN_GO = """
package main
import ("fmt"; "os"; "strconv"; "time")
func main() {
    steps, _ := strconv.Atoi(os.Args[1])
    for step := 0; step < steps; step++ {
        rows, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
        if err != nil { os.Exit(1) }
        fmt.Fprintln(rows, step)
        rows.Close()
        fmt.Println(step)
        time.Sleep(100 * time.Millisecond)
    }
    os.Exit(7)
}
"""
BY_NAME = """
import sys, time
for step in range(int(sys.argv[1])):
    with open(sys.argv[2], "a") as rows: print(step, file=rows)
    print(step, flush=True)
    time.sleep(0.1)
sys.exit(7)
"""
NUMBERS = "".join(f"{step}\n" for step in range(STEPS))


@pytest.fixture(scope="session")
def static_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    (folder / "rows.c").write_text(BY_NAME_IN_C)
    argv = ["cc", "-static", "-o", folder / "rows", folder / "rows.c"]
    if subprocess.run(argv, capture_output=True, timeout=LONG_S, check=False).returncode:
        pytest.skip("nothing can be linked statically here")
    return folder / "rows"


@pytest.fixture
def line(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return a line that appends to ``rows.txt`` by name, by the KIND of program that nothing watches."""
    kind = request.param
    words = [str(STEPS), "rows.txt"]
    if kind == "static":
        return [str(request.getfixturevalue("static_program")), *words]
    if kind == "Go":
        if shutil.which("go") is None:
            pytest.skip("no Go here")
        (tmp_path / "rows.go").write_text(BY_NAME_IN_GO)
        environ = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": "-mod=mod"}
        argv = ["go", "build", "-o", "rows", "rows.go"]
        subprocess.run(argv, cwd=tmp_path, env=environ, check=True, timeout=LONG_S)
        return [str(tmp_path / "rows"), *words]
    plain = [sys.executable, "-c", BY_NAME, *words]
    if kind == "no environment":
        return ["sh", "-c", '"$@"; exit $?', "sh", *without_environment(*plain)]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("nobody can become another user here")
    if not rlimits_are_readable():
        pytest.skip("CRIU can take no process of another user here: its limits cannot be read")
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", python, "-c", BY_NAME, *words]
    return ["sh", "-c", '"$@"; exit $?', "sh", *as_nobody]


def rlimits_are_readable() -> bool:
    """Whether root may read the limits of another user's process, as criu does; in a container it may not."""
    with subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", "cat"], stdin=subprocess.PIPE) as other:
        try:
            wait_until(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "cat\n")
            resource.prlimit(other.pid, resource.RLIMIT_CPU)
        except PermissionError:
            return False
        finally:
            other.communicate(timeout=LONG_S)
    return True


each_kind = pytest.mark.parametrize("line", ["static", "Go", "no environment", "another user"], indirect=True)
static = pytest.mark.parametrize("line", ["static"], indirect=True)


@pytest.fixture
def bench(criu: EngineHere, bench: Workbench) -> Workbench:
    del criu
    # a user of another job may have to reach it
    bench.folder.chmod(0o777)
    for folder in bench.folder.parents[:3]:
        folder.chmod(folder.stat().st_mode | 0o111)
    return bench


def interrupt(bench: Workbench, line: list[str], *, stops: bool = False, lines: int = 4) -> None:
    """Run LINE until a generation is committed and LINES more were written; then kill it, or stop it."""
    process = bench.start("-i", "1" if not bench.jobs.exists() else "0", "--stdout", "out.txt", *line)
    if not bench.generations:
        bench.wait_generations(1, process)
    if stops:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 85
    else:
        bench.wait_lines(lines, process)
        kill_all(process)


def rows(bench: Workbench) -> str:
    return (bench.folder / "rows.txt").read_text()


@each_kind
def test_a_file_written_by_name_is_refused_after_a_crash_and_left_as_it_is(bench: Workbench, line: list[str]) -> None:
    interrupt(bench, line)
    said = (bench.folder / "stderr.txt").read_text()
    assert "makes to files by name are not recorded" in said
    assert ACCEPT in said
    before = rows(bench)
    done = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert done.returncode == FAILED
    assert f"{bench.folder / 'rows.txt'} changed since then" in done.stderr
    assert rows(bench) == before
    done = bench.run("-i", "0", "--stdout", "out.txt", ACCEPT, *line)
    assert done.returncode == 7, done.stderr
    assert "left as it is" in done.stderr
    assert (bench.folder / "out.txt").read_text() == NUMBERS
    assert set(rows(bench).split()) == set(NUMBERS.split())


@each_kind
def test_after_a_last_checkpoint_it_resumes_and_nothing_is_written_twice(bench: Workbench, line: list[str]) -> None:
    interrupt(bench, line, stops=True)
    done = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert done.returncode == 7, done.stderr
    assert rows(bench) == NUMBERS


@static
def test_a_crash_in_a_later_life_than_that_of_the_last_checkpoint_is_refused_too(
    bench: Workbench, line: list[str]
) -> None:
    interrupt(bench, line, stops=True)
    interrupt(bench, line)
    before = rows(bench)
    done = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert done.returncode == FAILED
    assert "rows.txt changed since then" in done.stderr
    assert rows(bench) == before


@static
def test_one_that_writes_only_its_output_and_files_that_it_keeps_open_resumes(
    bench: Workbench, line: list[str]
) -> None:
    """And what a watched process of its own did is undone, and not taken for it."""
    watched = f'{sys.executable} -c \'open("watched", "a").write("x")\''
    program = ["sh", "-c", f"{watched}; {line[0]} {STEPS} & p=$!; sleep 2; {watched}; wait $p; exit $?"]
    interrupt(bench, program, lines=15)
    assert (bench.folder / "watched").exists()
    done = bench.run("-i", "0", "--stdout", "out.txt", *program)
    assert done.returncode == 7, done.stderr
    assert "makes to files by name" not in done.stderr
    assert "did to files by name since generation" in done.stderr
    assert (bench.folder / "out.txt").read_text() == NUMBERS
    assert (bench.folder / "held.txt").read_text() == NUMBERS
    assert (bench.folder / "watched").read_text() == "xx"


@static
def test_what_a_rollback_put_back_that_was_interrupted_is_not_taken_for_it(bench: Workbench, line: list[str]) -> None:
    (bench.folder / "watched").write_text("before")
    changes = f'{sys.executable} -c \'open("watched", "a").write("x")\''
    program = ["sh", "-c", f"{line[0]} {STEPS} & p=$!; sleep 2; {changes}; wait $p; exit $?"]
    interrupt(bench, program, lines=18)
    assert (bench.folder / "watched").read_text() == "beforex"
    part = json.loads((bench.job / "generations" / "000001" / "manifest.json").read_text())["undo_part"]
    undo.go_back(bench.job / "undo", undo.Goal(part=part, program_stopped=False), accept=False, warn=print)
    assert (bench.folder / "watched").read_text() == "before"
    done = bench.run("-i", "0", "--stdout", "out.txt", *program)
    assert done.returncode == 7, done.stderr
    assert (bench.folder / "watched").read_text() == "beforex"


@static
def test_the_tasks_of_an_array_are_not_taken_for_one_another(bench: Workbench, line: list[str]) -> None:
    """Each with an output and a file of its own, in one directory."""
    steps, tasks = 100, ("1", "2")
    environs = {task: {**bench.environ, "SLURM_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": task} for task in tasks}
    lines = {task: ["--stdout", f"out-{task}.txt", line[0], str(steps), "-", f"held-{task}.txt"] for task in tasks}
    processes = [bench.start("-i", "1", *lines[task], env=environs[task]) for task in tasks]
    wait_until(lambda: len({path.parent for path in bench.jobs.glob("*/generations/00000[1-9]")}) == len(tasks))
    for process, task in zip(processes, tasks, strict=True):
        bench.wait_lines(3, process, f"out-{task}.txt")
    for process in processes:
        kill_all(process)
    for task in tasks:
        done = bench.run("-i", "0", *lines[task], env=environs[task])
        assert done.returncode == 7, done.stderr
    for name in ("out-1.txt", "out-2.txt", "held-1.txt", "held-2.txt"):
        assert (bench.folder / name).read_text().split() == list(map(str, range(steps)))


@static
def test_the_redirected_output_of_another_job_is_not_taken_for_its_own(bench: Workbench, line: list[str]) -> None:
    """Of a program that is watched, as the shell opened it with ``>``."""
    with (bench.folder / "other.out").open("wb") as out, (bench.folder / "other.log").open("wb") as err:
        other = bench.start("-i", "0", "--job", "other", *bench.counting(200), stdout=out, stderr=err)
    mine = ["-i", "1", "--job", "mine", "--stdout", "out.txt", line[0], str(STEPS), "-", "held.txt"]
    process = bench.start(*mine)
    wait_until(lambda: list(bench.jobs.glob("mine/generations/00000[1-9]")))
    before = (bench.folder / "other.out").stat().st_size
    wait_until(lambda: (bench.folder / "other.out").stat().st_size > before)
    kill_all(process)
    done = bench.run(*mine)
    assert done.returncode == 7, done.stderr
    assert (bench.folder / "out.txt").read_text() == NUMBERS
    assert other.wait(LONG_S) == 0


@static
def test_a_file_that_was_made_in_a_folder_that_the_line_names_is_refused(bench: Workbench, line: list[str]) -> None:
    elsewhere = bench.folder.parent / "elsewhere"
    elsewhere.mkdir()
    line[2] = str(elsewhere / "rows.txt")
    interrupt(bench, line)
    done = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert done.returncode == FAILED
    assert f"{elsewhere / 'rows.txt'} changed since then" in done.stderr


@static
def test_a_file_that_is_gone_since_is_refused(bench: Workbench, line: list[str]) -> None:
    (bench.folder / "below").mkdir()
    (bench.folder / "below" / "todo").touch()
    interrupt(bench, line[:2])
    (bench.folder / "below" / "todo").unlink()
    done = bench.run("-i", "0", "--stdout", "out.txt", *line[:2])
    assert done.returncode == FAILED
    assert f"something in {bench.folder / 'below'} was made, moved or removed since then" in done.stderr


def of_an_hour_later(bench: Workbench) -> None:
    """Have the images be from a clock that was an hour ahead, and has been set back."""
    folder = bench.job / "generations" / "000001"
    held = json.loads((folder / "files.json").read_text())
    held["taken_ns"] += 3600 * 10**9
    (folder / "files.json").write_text(json.dumps(held))
    layout = JobLayout(bench.job)
    read = read_manifest(layout, 1)
    images = [
        replace(one, size=(folder / one.name).stat().st_size, xxh3_128=hash_file(folder / one.name))
        for one in read.images
    ]
    (folder / "manifest.json").write_bytes(encode(replace(read, images=images)))


@static
def test_a_file_that_changed_after_the_clock_went_back_is_refused(bench: Workbench, line: list[str]) -> None:
    interrupt(bench, line)
    of_an_hour_later(bench)
    done = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert done.returncode == FAILED, bench.said("out.txt")
    assert f"{bench.folder / 'rows.txt'} changed since then" in done.stderr


@static
def test_files_that_nothing_changed_are_not_refused_after_the_clock_went_on(bench: Workbench, line: list[str]) -> None:
    """As on a file server whose clock is ahead of that of the disk with the images."""
    (bench.folder / "theirs").touch()
    os.utime(bench.folder / "theirs", (2**31, 2**31))
    interrupt(bench, line[:2])
    done = bench.run("-i", "0", "--stdout", "out.txt", *line[:2])
    assert done.returncode == 7, done.stderr
    assert (bench.folder / "out.txt").read_text() == NUMBERS


# ------------------------------------------------------------------------------- each warning, as a person sees it


def said_on_a_terminal(bench: Workbench, words: list[str], text: str) -> None:
    """Type WORDS on a terminal, and wait until a line of dmtcp-run's with TEXT is to be seen there."""
    argv = bench.line("-i", "1", *words)
    options = {"cwd": str(bench.folder), "env": bench.environ, "timeout": LONG_S, "dimensions": (24, 1000)}
    child = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", **options)
    try:
        child.expect(f"dmtcp-run: [^\r\n]*{text}")
    finally:
        child.sendcontrol("c")
        child.expect(pexpect.EOF)
        child.close()


@each_kind
def test_who_is_not_watched_is_named_on_a_terminal(bench: Workbench, line: list[str]) -> None:
    said_on_a_terminal(bench, line, "makes to files by name are not recorded: it is statically linked or made by Go")


def test_a_connection_to_another_program_is_named_on_a_terminal(bench: Workbench) -> None:
    listens = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
    argv = [sys.executable, "-c", listens + "c = s.accept(); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        connects = f"import socket, time; s = socket.create_connection(('127.0.0.1', {port})); time.sleep(600)"
        # a warning, or without privileges a refusal
        said_on_a_terminal(bench, [sys.executable, "-c", connects], f"127.0.0.1 port {port}")
        other.communicate("\n", timeout=LONG_S)


COUNTS_IN_A_FILE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words)
{
    int fd = open("large", O_RDWR | O_CREAT, 0600), step = 0;
    struct timespec pause = { 0, 100000000 }, times[2] = { { time(NULL) - 3600, 0 }, { time(NULL) - 3600, 0 } };
    if (fd < 0 || count < 2 || ftruncate(fd, 65 << 20))
        return 1;
    while (step < atoi(words[1])) {
        if (pread(fd, &step, sizeof step, 0) != sizeof step)
            return 1;
        printf("%d\n", step++);
        fflush(stdout);
        if (pwrite(fd, &step, sizeof step, 0) != sizeof step || futimens(fd, times))
            return 1;
        nanosleep(&pause, NULL);
    }
    return 7;
}
"""
"""The file has a time of an hour ago after each write, as it has where the clock of its host went back."""


def test_a_large_file_that_changed_is_found_although_the_clock_went_back(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "counts.c").write_text(COUNTS_IN_A_FILE)
    argv = ["cc", "-static", "-o", tmp_path / "counts", tmp_path / "counts.c"]
    if subprocess.run(argv, capture_output=True, timeout=LONG_S, check=False).returncode:
        pytest.skip("nothing can be linked statically here")
    line = [str(tmp_path / "counts"), str(STEPS)]
    interrupt(bench, line, stops=True)
    stopped = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert stopped.returncode == 7, "what nothing changed is resumed: " + stopped.stderr
    assert (bench.folder / "out.txt").read_text() == NUMBERS
    (bench.folder / "large").unlink()
    shutil.rmtree(bench.jobs)
    interrupt(bench, line)
    done = bench.run("-i", "0", "--stdout", "out.txt", *line)
    assert done.returncode == FAILED, (bench.folder / "out.txt").read_text()
    assert f"{bench.folder / 'large'}, which the program had open for reading and writing, changed" in done.stderr
