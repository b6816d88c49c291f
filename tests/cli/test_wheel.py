"""A wheel, installed where there is no compiler: what it has built in C works there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kit.long_form import NO_LONG_TESTS
from kit.paths import path_without
from kit.places import REPOSITORY
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = [pytest.mark.plain_user_too, NO_LONG_TESTS, pytest.mark.timeout(1800)]

_BUILD_S = 900
_NOT_SOURCE = (".git", ".venv", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache")
_COMPILER = r"(.*-)?(cc|[cg]\+\+|[cgt]cc|clang(\+\+)?|c[89]9)(-[\d.]+)?"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a PATH without a compiler."""
    folder = tmp_path_factory.mktemp("path")
    folder.chmod(0o755)
    return path_without(_COMPILER, folder / "bin")


@pytest.fixture(scope="module")
def installed(path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this source, and give the folder of the commands that it installs without a compiler."""
    folder = tmp_path_factory.mktemp("wheel")
    folder.chmod(0o755)
    source, venv = folder / "source", folder / "venv"
    shutil.copytree(REPOSITORY, source, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
    _run(["make", "-C", str(source), "wheel", f"PYTHON={sys.executable}"])
    (wheel,) = (source / "dist").glob("*.whl")
    assert "manylinux" in wheel.name
    _run([sys.executable, "-m", "venv", str(venv)])
    _run([str(venv / "bin" / "pip"), "install", "--quiet", str(wheel)], env={**os.environ, "PATH": path})
    return venv / "bin"


def _run(argv: list[str], **popen: dict[str, str]) -> None:
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_BUILD_S, check=False, **popen
    )
    assert done.returncode == 0, done.stdout


def test_a_job_survives_with_a_wheel_that_was_installed_without_a_compiler(
    bench: Workbench, engine: EngineHere, installed: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del engine
    monkeypatch.setenv("PATH", path)
    bench.command = (str(installed / "dmtcp-run"),)
    bench.assert_survives(bench.counting(100))
    doctor = subprocess.run(
        bench.typed([installed / "dmtcp-ctl", "doctor"]),
        env=bench.environ,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert re.search(r"^ok +parts in C +built", doctor.stdout, re.MULTILINE), doctor.stdout
