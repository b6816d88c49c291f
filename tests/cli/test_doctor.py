"""``dmtcp-ctl doctor``: what it says is so, it has tried; the only fakes are engines that are broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.native import built
from kit.copies import copy_without_c
from kit.places import CTL
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

_ROWS = ["auto", "engine dmtcp", "engine criu", "parts in C", "kernel", "privileges", "locks", "space", "scheduler"]

_OF_DMTCP = "coordinator"
"""The row about what DMTCP alone has."""
_WAY = "criu "
"""So begins the row of each way in which CRIU was tried."""


def doctor(bench: Workbench, status: int, *words: str, **environ: str) -> dict[str, dict[str, Any]]:
    """Return the rows of ``dmtcp-ctl doctor`` by what they are about."""
    done = bench.ctl(*words, "doctor", "--json", env={**bench.environ, **environ})
    assert done.returncode == status, done.stdout + done.stderr
    return {row["about"]: row for row in json.loads(done.stdout)}


def fake(bench: Workbench, name: str, script: str) -> Path:
    """Make an engine that is broken in a way that a real one cannot be made to be."""
    path = bench.folder.parent / "fake/bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing(bench: Workbench) -> dict[str, str]:
    """Return an environment in which there is no engine."""
    return {"DMTCP_PREFIX": str(bench.folder.parent / "none"), "DMTCP_RUN_CRIU": "/bin/false"}


def test_an_engine_that_works_is_found_with_its_version(bench: Workbench, engine: EngineHere) -> None:
    rows = doctor(bench, 0)
    row = rows[f"engine {engine.name}"]
    assert row["level"] == "ok"
    assert row["finding"].startswith(engine.version)
    assert row["finding"].endswith("works")


def test_every_row_is_there_and_auto_gives_its_reason(bench: Workbench, one_engine: EngineHere) -> None:
    rows = doctor(bench, 0)
    assert [about for about in rows if not about.startswith(_WAY) and about != _OF_DMTCP] == _ROWS
    assert rows["auto"]["finding"].startswith(f"programs run with {one_engine.name} {one_engine.version} (")
    assert os.uname().release in rows["kernel"]["finding"]


def test_an_engine_that_is_not_here_is_not_needed_where_another_works(bench: Workbench, criu: EngineHere) -> None:
    row = doctor(bench, 0, DMTCP_PREFIX=str(bench.folder))["engine dmtcp"]
    assert row["level"] == "ok"
    assert row["finding"] == f"not needed, as {criu.name} works (not installed)"


def test_people_get_a_table(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    lines = bench.ctl("doctor").stdout.splitlines()
    assert lines[0].split() == ["IS", "ABOUT", "FINDING"]
    assert {line.split()[0] for line in lines[1:]} <= {"ok", "warning", "problem"}
    assert len([line for line in lines if not line.partition(" ")[2].strip().startswith((_WAY, _OF_DMTCP))]) == 1 + len(
        _ROWS
    )


def test_it_is_said_whether_the_coordinator_refuses_other_users(bench: Workbench, one_dmtcp: EngineHere) -> None:
    assert one_dmtcp
    if built("peers") is None:
        pytest.skip("there was no C compiler")
    row = doctor(bench, 0)["coordinator"]
    assert row["level"] == "ok"
    assert row["finding"] == f"DMTCP's coordinator refuses connections of users other than {os.geteuid()}"
    without = {"PYTHONPATH": str(copy_without_c(bench.folder.parent / "without"))}
    row = doctor(bench, 0, **without)["coordinator"]
    assert row["level"] == "warning"
    assert "other users of this machine could checkpoint or kill jobs under DMTCP: dmtcp-py was" in row["finding"]


def test_without_any_engine_the_status_is_1_and_each_says_what_it_lacks(
    bench: Workbench, nothing: dict[str, str]
) -> None:
    rows = doctor(bench, 1, **nothing)
    assert "DMTCP is not installed" in rows["engine dmtcp"]["finding"]
    assert rows["engine criu"]["level"] == "problem"
    assert rows["auto"]["level"] == "problem"


def test_a_dmtcp_that_cannot_start_a_program_does_not_work(bench: Workbench, nothing: dict[str, str]) -> None:
    launch = fake(bench, "dmtcp_launch", 'echo "dmtcp_launch (DMTCP) 3.2.0"')
    for name in ("dmtcp_restart", "dmtcp_coordinator", "dmtcp_command"):
        fake(bench, name, "exit 1")
    rows = doctor(bench, 1, **{**nothing, "DMTCP_PREFIX": str(launch.parent.parent)})
    assert rows["engine dmtcp"]["level"] == "problem"


def test_a_criu_that_this_kernel_refuses_is_told_with_its_reason(bench: Workbench, nothing: dict[str, str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("others than root lack privileges before the check")
    check = (
        '[ "$1" = --version ] && { echo "Version: 3.17.1"; exit 0; }\necho "Error: vdso: Unexpected rt vDSO"; exit 1'
    )
    rows = doctor(bench, 1, **{**nothing, "DMTCP_RUN_CRIU": str(fake(bench, "criu", check))})
    finding = rows["engine criu"]["finding"]
    assert finding.startswith("3.17.1 in ")
    assert os.uname().release in finding
    assert "Unexpected rt vDSO" in finding


def test_a_criu_on_path_that_this_kernel_refuses_can_be_replaced_without_an_administrator(
    bench: Workbench, nothing: dict[str, str]
) -> None:
    criu = fake(bench, "criu", '[ "$1" = --version ] && echo "Version: 3.0" && exit; echo no good >&2; exit 1')
    path = f"{criu.parent}:{os.environ['PATH']}"
    rows = doctor(bench, 1, **{**nothing, "DMTCP_RUN_CRIU": "", "PATH": path, "XDG_DATA_HOME": str(bench.temporary)})
    assert "'dmtcp-ctl setup --engine criu' installs a newer one in your home" in rows["engine criu"]["finding"]
    assert "ok" not in {row["level"] for about, row in rows.items() if about.startswith(_WAY)}


def test_a_criu_that_is_named_and_not_there_is_told(bench: Workbench, nothing: dict[str, str]) -> None:
    rows = doctor(bench, 1, **{**nothing, "DMTCP_RUN_CRIU": "/no/such/criu"})
    assert "/no/such/criu" in rows["engine criu"]["finding"]


def test_root_without_the_capabilities_is_told_what_its_container_lacks(bench: Workbench, criu: EngineHere) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can give up capabilities")
    less = ["setpriv", "--bounding-set=-sys_time,-sys_admin", CTL, "doctor", "--json"]
    done = subprocess.run(less, env=bench.environ, capture_output=True, text=True, timeout=LONG_S, check=False)
    rows = {row["about"]: row for row in json.loads(done.stdout)}
    assert rows["engine criu"]["finding"].startswith(criu.version)
    assert rows["engine criu"]["finding"].endswith("--cap-add SYS_ADMIN --cap-add SYS_TIME")


def test_a_place_where_nothing_can_be_locked_is_a_problem(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    rows = doctor(bench, 1, "--dir", "/proc/self/no-such-folder")
    assert rows["locks"]["level"] == "problem"
    assert rows["locks"]["hint"] == "choose another --dir"


def test_the_scheduler_around_us_is_named(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    rows = doctor(bench, 0, SLURM_JOB_ID="4711")
    assert rows["scheduler"]["finding"] == "inside slurm job 4711"


def test_nothing_is_left_behind(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    doctor(bench, 0)
    assert not list(bench.folder.iterdir())
    assert not list(bench.temporary.iterdir())
