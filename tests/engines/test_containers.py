"""In a container without privileges, as Apptainer has: with its own root, processes and user namespace (bubblewrap)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import WITHOUT_PRIVILEGES
from kit.jobs import events_of, jobs_in
from kit.places import CTL, EXAMPLES, RUN
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.bench import Workbench

CHECKPOINTED = 85
OWN = ("proc", "dev")


def container() -> list[str]:
    """Return what runs the rest of a line in a container whose root has the entries of this one."""
    words = ["bwrap", "--unshare-user", "--unshare-pid", "--die-with-parent"]
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir() and path.name not in OWN:
            words += ["--bind", str(path), str(path)]
    return [*words, "--proc", "/proc", "--dev", "/dev"]


@pytest.mark.usefixtures("one_of_each")
def test_a_program_goes_on_in_a_new_container_and_is_stopped_from_outside(bench: Workbench) -> None:
    if not shutil.which("bwrap"):
        pytest.skip("there is no bubblewrap")
    typed, environ = ordinary_user(bench)
    words = [RUN, *bench.engine.options, "-i", "0", "--stdout", "out.txt"] if bench.engine else []
    line = typed([*container(), *words, sys.executable, "-u", str(EXAMPLES / "counter.py"), "100"])
    with (bench.folder / "stderr.txt").open("w") as stderr:
        first = subprocess.Popen(line, cwd=bench.folder, env=environ, stderr=stderr)
    wait_until(lambda: first.poll() is not None or bench.said("out.txt").count("\n") > 5)
    stop = subprocess.run(
        typed([CTL, "stop"]), cwd=bench.folder, env=environ, timeout=LONG_S, capture_output=True, text=True, check=False
    )
    assert stop.returncode == 0, stop.stderr + bench.said()
    assert first.wait(LONG_S) == CHECKPOINTED
    second = subprocess.run(
        line, cwd=bench.folder, env=environ, timeout=LONG_S, capture_output=True, text=True, check=False
    )
    assert second.returncode == 0, second.stderr
    (job,) = jobs_in(bench.jobs)
    assert "resumed" in events_of(job)
    plain = subprocess.run([sys.executable, EXAMPLES / "counter.py", "100"], capture_output=True, text=True, check=True)
    assert bench.said("out.txt") == plain.stdout


def ordinary_user(bench: Workbench) -> tuple[Callable[[list[str]], list[str]], dict[str, str]]:
    """Return what makes a line one of an ordinary user, and the environment for it."""
    if os.geteuid() != 0:
        return list, bench.environ
    if not WITHOUT_PRIVILEGES or WITHOUT_PRIVILEGES[0].user is None:
        pytest.skip("an ordinary user may make no user namespace here, or has no CRIU")
    user = WITHOUT_PRIVILEGES[0].user.reaching(bench.folder.parent)
    return lambda words: user.typing(words, bench.folder), {**bench.environ, **WITHOUT_PRIVILEGES[0].environ}


@pytest.mark.usefixtures("one_of_each")
def test_around_a_container_the_line_says_why_that_cannot_be(bench: Workbench) -> None:
    if not shutil.which("bwrap"):
        pytest.skip("there is no bubblewrap")
    # makes the namespaces of the container and runs the program in them, all below dmtcp-run
    program = [*container(), sys.executable, "-u", str(EXAMPLES / "counter.py"), "60"]
    said = bench.run("-i", "1", "--stdout", "out.txt", *program).stderr
    assert "no engine restores" in said
    assert "inside the container" in said or "is in its own" in said
