"""Options that a site, a user or the environment sets for every line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere


def write(bench: Workbench, text: str) -> Path:
    """Write the user's file, and return it."""
    path = bench.folder.parent / "config/dmtcp-py/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def shown(bench: Workbench, **environ: str) -> dict[str, tuple[object, str]]:
    done = bench.ctl("config", "--json", env={**bench.environ, **environ})
    assert done.returncode == 0, done.stderr
    return {row["option"]: (row["value"], row["from"]) for row in json.loads(done.stdout)}


def test_each_value_is_shown_with_where_it_comes_from(bench: Workbench) -> None:
    mine = write(bench, 'keep = 3\ninterval = "15m"\nallow-unprotected = true\n')
    site = bench.folder.parent / "site.toml"
    site.write_text('keep = 5\nat-limit = "exit"\ndir = "/scratch/jobs"\n')
    found = shown(bench, DMTCP_RUN_CONFIG=str(site), DMTCP_RUN_INTERVAL="1h", DMTCP_RUN_ALLOW_UNPROTECTED="no")
    assert found["--keep"] == ("3", str(mine))
    assert found["--at-limit"] == ("exit", str(site))
    assert found["--interval"] == ("1h", "DMTCP_RUN_INTERVAL")
    assert found["--allow-unprotected"] == (False, "DMTCP_RUN_ALLOW_UNPROTECTED")
    assert found["--lead"] == (None, "default")
    assert found["--dir"] == ("/scratch/jobs", str(site))


def test_a_line_runs_with_what_is_set_and_its_own_options_come_first(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    jobs = bench.folder.parent / "jobs"
    write(bench, f'dir = "{jobs}"\nstdout = "all.txt"\nquiet = true\n')
    done = bench.run("--stdout", "out.txt", "echo", "hello")
    assert (done.returncode, done.stderr) == (0, "")
    assert (bench.folder / "out.txt").read_text() == "hello\n"
    assert not (bench.folder / "all.txt").exists()
    assert not bench.jobs.exists()
    (row,) = json.loads(bench.ctl("status", "--json").stdout)
    assert row["phase"] == "finished"
    assert "engine " in bench.run("-v", "echo", "hello").stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keeps = 3", "no option --keeps; is keep meant?"),
        ("keep = 0", "keep = 0: 0 is not in the range"),
        ('interval = "often"', "interval = 'often': 'often' is not a duration"),
        ("fresh = true", "--fresh is for one run"),
        ('verbose = "perhaps"', "neither true nor false"),
        ("keep = [3]", "is no value of --keep"),
        ("keep 3", "is no TOML"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_file(bench: Workbench, text: str, says: str) -> None:
    path = write(bench, text + "\n")
    done = bench.run("true")
    assert done.returncode == 2
    assert done.stderr.startswith(f"dmtcp-run: {path}")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
