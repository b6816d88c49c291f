"""A DMTCP that cannot be used here is told by its reason before anything starts, and ``auto`` does without it."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

TOOLS = ("dmtcp_launch", "dmtcp_restart", "dmtcp_coordinator", "dmtcp_command")


def _old_dmtcp(folder: Path, version: str) -> dict[str, str]:
    """Make tools that print VERSION, and otherwise only that they ran; return the variable that leads to them."""
    tools = folder / "old" / "bin"
    tools.mkdir(parents=True)
    for name in TOOLS:
        text = f"#!/bin/sh\n[ $# = 1 ] && echo '{name} (DMTCP) {version}' && exit 1\necho ran >>{folder}/ran\n"
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return {"DMTCP_PREFIX": str(tools.parent)}


@pytest.mark.parametrize("version", ["2.6.0", "3.0.0", "3.1.2"])
def test_a_dmtcp_before_3_2_is_refused_by_its_version(bench: Workbench, criu: EngineHere, version: str) -> None:
    assert criu
    environ = {**bench.environ, **_old_dmtcp(bench.folder.parent, version)}
    named = bench.run("--engine", "dmtcp", "true", env=environ)
    left = bench.run("--engine", "auto", "-v", "true", env=environ)
    assert named.returncode == 125
    assert f"DMTCP {version} in " in named.stderr
    assert "is too old: dmtcp-run needs 3.2 or later" in named.stderr
    assert "Traceback" not in named.stderr
    assert left.returncode == 0
    assert f"DMTCP {version} in " in left.stderr
    assert "started with criu " in left.stderr
    assert not (bench.folder.parent / "ran").exists()


def _lower_the_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_a_low_limit_on_open_files_is_told_and_left_as_it_is(bench: Workbench, engine: EngineHere) -> None:
    program = ["bash", "-c", "ulimit -n"]
    done = bench.run(*engine.by_name.options, *program, preexec_fn=_lower_the_limit)
    if engine.name == "criu":
        assert (done.returncode, done.stdout) == (0, "256\n")
    else:
        assert done.returncode == 125
        assert "the limit on open files is 256, and DMTCP needs 1024 ('ulimit -n 1024')" in done.stderr


def test_and_the_other_engine_runs_the_program(bench: Workbench, criu: EngineHere) -> None:
    assert criu
    done = bench.run("--engine", "auto", "bash", "-c", "ulimit -n", preexec_fn=_lower_the_limit)
    assert (done.returncode, done.stdout) == (0, "256\n")
    assert "started with criu " in done.stderr
