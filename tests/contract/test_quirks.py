"""What programs are launched with so that they work: each setting works, and is still needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness import LONG_S, EngineHere, Workbench, kill_all

from dmtcp_py.native import built

BLAS_AND_PROCESSES = """
import os, subprocess, sys, time
import numpy as np
a = np.random.default_rng(1).random((300, 300))
x = a
for step in range(int(sys.argv[1])):
    x = a @ x
    x /= abs(x).max()
    said = subprocess.run(["echo", "child", str(step)], capture_output=True, text=True, check=True).stdout
    os.system("exit 0")
    print(said.strip(), repr(x.sum()), flush=True)
    time.sleep(0.6)
print("done", repr(x.trace()))
"""
_needs_compiler = pytest.mark.skipif(built("forks") is None, reason="there was no compiler at the installation")


@pytest.fixture
def dmtcp(engine: EngineHere) -> EngineHere:
    """Give the engine where it is a DMTCP; a quirk is one engine's."""
    if engine.name != "dmtcp":
        pytest.skip("only DMTCP needs these")
    return engine


@_needs_compiler
def test_a_program_with_threaded_blas_starts_processes_and_resumes(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    program = [*bench.python("blas.py", BLAS_AND_PROCESSES), "12"]
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    process = bench.start(*line)
    bench.wait_generations(2, process)
    kill_all(process)
    assert bench.run(*line).returncode == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


@_needs_compiler
def test_without_the_plugin_such_a_program_hangs_or_fails(bench: Workbench, dmtcp: EngineHere) -> None:
    """Where this one fails, DMTCP has learned it: the plugin can go for versions from that one on."""
    program = [*bench.python("blas.py", BLAS_AND_PROCESSES), "1"]
    tools = Path(dmtcp.environ["DMTCP_PREFIX"]) / "bin"
    port, environ = bench.folder / "port", {**bench.environ, "TMPDIR": str(bench.folder)}
    argv = [tools / "dmtcp_coordinator", "--port", "0", "--port-file", port, "--exit-on-last", "--quiet"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, **streams, cwd=bench.folder, env=environ) as coordinator:  # type: ignore[call-overload]
        try:
            while not port.is_file() or not port.read_text().strip():
                assert coordinator.poll() is None
            join = ["--join-coordinator", "--coord-port", port.read_text().strip(), "--no-gzip", "--quiet"]
            process = subprocess.Popen(
                [tools / "dmtcp_launch", *join, *program],
                **streams,  # type: ignore[call-overload]
                cwd=bench.folder,
                start_new_session=True,
                env=environ,
            )
            bench.started.append(process)
            try:
                assert process.wait(5) != 0
            except subprocess.TimeoutExpired:
                kill_all(process)
        finally:
            coordinator.terminate()


def test_what_was_set_is_told_and_stands_in_the_manifest_and_what_the_caller_set_stays(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    names = ("HWLOC_COMPONENTS", "OMPI_MCA_ess_singleton_isolated")
    text = f"import os, time; time.sleep(2); print(*map(os.environ.get, {names}))"
    environ = {**bench.environ, "HWLOC_COMPONENTS": "mine"}
    done = bench.run("-v", "-i", "0.5", sys.executable, "-c", text, env=environ)
    assert done.stdout == "mine 1\n"
    assert "set OMPI_MCA_ess_singleton_isolated=1: " in done.stderr
    assert "HWLOC_COMPONENTS" not in done.stderr
    manifest = json.loads((bench.job / "generations" / f"{bench.generations[-1]:06}" / "manifest.json").read_text())
    assert any(quirk.startswith("OMPI_MCA_ess_singleton_isolated=1: ") for quirk in manifest["quirks"])
