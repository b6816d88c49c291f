"""Jobs in folders with names of any bytes, in any locale: batch jobs often have none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

WRITER = """
import os, sys, time
held = open(b"held \\xff", "wb")
for step in range(1, int(sys.argv[1]) + 1):
    held.write(b"%d\\n" % step)
    held.flush()
    with open(b"named \\xc3\\xa9", "ab") as file:
        file.write(b"%d\\n" % step)
    print(step, os.getcwdb(), flush=True)
    time.sleep(0.1)
"""
"""Holds a file open, and opens another by its name again and again; both have names that are not ASCII."""
FILES = (b"held \xff", b"named \xc3\xa9")
NO_TEXT = b"no text \xff\xfe"
NO_ASCII = "pr\xfcfung".encode()
LATIN_1 = "xx_XX.ISO-8859-1"


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return what sets each locale; LATIN_1 is left out where it cannot be made."""
    found = {"none": {}, "C": {"LC_ALL": "C"}}
    if shutil.which("localedef"):
        folder = tmp_path_factory.mktemp("locales")
        make = ["localedef", "--no-archive", "-c", "-i", "POSIX", "-f", "ISO-8859-1", str(folder / LATIN_1)]
        subprocess.run(make, capture_output=True, timeout=LONG_S, check=False)
        if (folder / LATIN_1).exists():
            found[LATIN_1] = {"LC_ALL": LATIN_1, "LOCPATH": str(folder)}
    return found


@pytest.fixture(params=[NO_TEXT, NO_ASCII], ids=["no-text", "no-ascii"])
def folder(request: pytest.FixtureRequest, bench: Workbench) -> Iterator[Path]:
    """Move the workbench, and the run that it is compared with, into a folder with a name that is not ASCII."""
    above = bench.folder
    bench.folder = above / os.fsdecode(request.param) / "work"
    bench.folder.mkdir(parents=True)
    yield bench.folder
    for path in (bench.temporary, bench.plain):
        shutil.rmtree(path)
    bench.folder = above


def _seen(bench: Workbench, locales: dict[str, dict[str, str]], name: str) -> dict[str, Any]:
    """Return how the workbench starts something that sees locale NAME; what it prints is no UTF-8, perhaps."""
    if name not in locales:
        pytest.skip(f"no locale {name} can be made here: localedef or its sources are missing")
    plain = {key: value for key, value in bench.environ.items() if not key.startswith(("LC_", "LANG"))}
    return {"env": {**plain, **locales[name]}}


@pytest.mark.parametrize(
    ("folder", "lives"),
    [
        pytest.param(NO_TEXT, ("none", "none"), id="none"),
        pytest.param(NO_TEXT, ("C", "C"), id="C"),
        # as from a batch job to a shell, which turns the same bytes into other text
        pytest.param(NO_ASCII, ("none", LATIN_1), id="none-then-latin-1"),
    ],
    indirect=["folder"],
)
def test_a_job_is_killed_stopped_and_finishes(
    bench: Workbench,
    one_of_each: EngineHere,
    folder: Path,
    locales: dict[str, dict[str, str]],
    lives: tuple[str, str],
) -> None:
    assert one_of_each
    before, after = (_seen(bench, locales, name) for name in lives)
    program = [sys.executable, "-c", WRITER, "50"]
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    process = bench.start(*line, **before)
    bench.wait_generations(1, process)
    bench.wait_lines(2, process)
    kill_all(process)
    process = bench.start(*line, **after)
    bench.wait_lines(2, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85, (folder / "stderr.txt").read_bytes()
    for words in (["status"], ["list", "--json"], ["verify"]):
        asked = bench.ctl(*words, **after, errors="backslashreplace")
        assert asked.returncode == 0, asked.stderr
    done = bench.run(*line, **after, errors="backslashreplace")
    assert done.returncode == plain.wait(LONG_S) == 0, done.stderr
    bench.assert_same(*map(os.fsdecode, FILES))
    assert (folder / "out.txt").read_bytes().replace(b"/work'", b"/plain'") == (bench.plain / "out.txt").read_bytes()
    assert bench.events.count("resumed") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_criu_starts_where_a_mount_point_has_such_a_name(bench: Workbench, criu: EngineHere) -> None:
    del criu
    mounted = bench.folder / os.fsdecode(NO_TEXT)
    mounted.mkdir()
    mount = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", mount, str(mounted), *bench.line("-i", "0", "sh", "-c", "exit 3")]
    done = subprocess.run(words, cwd=bench.folder, env=bench.environ, capture_output=True, timeout=LONG_S, check=False)
    assert done.returncode == 3, done.stderr


def test_a_program_sees_no_locale_that_was_not_set(
    bench: Workbench, one_of_each: EngineHere, locales: dict[str, dict[str, str]]
) -> None:
    """An interpreter without a locale sets LC_CTYPE, by which programs count and sort characters otherwise."""
    assert one_of_each
    for name, expected in (("none", []), ("C", ["LC_ALL=C"])):
        done = bench.run("--job", name, "env", **_seen(bench, locales, name))
        assert [line for line in done.stdout.splitlines() if line.startswith(("LC_", "LANG"))] == expected


def test_a_locale_that_was_set_is_the_program_s(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    plain = {key: value for key, value in bench.environ.items() if not key.startswith(("LC_", "LANG"))}
    done = bench.run("env", env={**plain, "LC_CTYPE": "C.UTF-8"})
    assert "LC_CTYPE=C.UTF-8" in done.stdout.splitlines()


def test_a_program_with_a_name_that_is_no_text_resumes(bench: Workbench, one_of_each: EngineHere) -> None:
    """DMTCP names images after the program."""
    assert one_of_each
    named = bench.folder.parent / os.fsdecode(NO_TEXT)
    shutil.copy("/bin/sh", named)
    program = [named, "-c", "for step in 0 1 2 3 4 5 6 7 8 9 10 11; do echo $step; sleep 0.5; done"]
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    done = bench.run(*line, errors="backslashreplace")
    assert done.returncode == plain.wait(LONG_S) == 0, done.stderr
    assert "resumed generation" in done.stderr
    bench.assert_same("out.txt")
