"""Imports point down only: every edge of dmtcp_py, those for types and those within functions too."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dmtcp_py

ROOT = Path(dmtcp_py.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    # the only place that exits
    ("cli",),
    ("cli.common",),
    # `import dmtcp_py`, and its version
    ("dmtcp_py",),
    # what runs in the program, and the arguments of `dmtcp_py.run`
    ("here", "arguments"),
    # what people read of jobs and machines
    ("report", "rehearsal"),
    ("attempt",),
    ("batch",),
    # which engine, and those that there are
    ("engine.setup",),
    ("engine.probe",),
    ("engine.choice",),
    ("engine.dmtcp", "engine.criu"),
    ("engine",),
    ("rollback",),
    ("state",),
    ("mirror",),
    ("store",),
    ("options", "messages", "native"),
    # the operating system
    ("system",),
    ("errors",),
)
"""From the top down; a package's name stands for all of its modules that have no place of their own.

A module may import those of lower layers, and those of the same package at the same place as long as nothing goes in
a circle.
"""

PLACE = {name: number for number, layer in enumerate(LAYERS) for name in layer}
PURE = (
    "attempt.happenings",
    "attempt.policy",
    "attempt.interval",
    "attempt.last_line",
    "attempt.outcome",
    "batch.allocation",
    "batch.requeue",
    "engine.dmtcp.verdict",
    "options",
    "store.retention",
    "system.units",
)
IMPURE = {"os", "time", "subprocess", "socket", "shutil", "tempfile", "threading", "random", "select", "fcntl"}


MODULES = {
    ".".join(("dmtcp_py", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
"""Every module of the package by its full name."""


def short(module: str) -> str:
    return module.removeprefix("dmtcp_py.")


def imported(path: Path) -> set[str]:
    """Return the full names of all modules that the module in PATH imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            base = node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else base for name in names)
    return found


def edges(module: str) -> set[str]:
    return {name for name in imported(MODULES[module]) if name in MODULES and name != module}


def entry(module: str) -> str | None:
    """Return the table's entry for MODULE: its own, or its package's."""
    name = short(module)
    while name not in PLACE and "." in name:
        name = name.rpartition(".")[0]
    return name if name in PLACE else None


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_place_in_the_table(module: str) -> None:
    assert entry(module) is not None, f"say in LAYERS where {module} belongs"


def test_every_name_of_the_table_is_there() -> None:
    assert set(PLACE) == {entry(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    mine = entry(module)
    assert mine is not None
    places = {target: entry(target) for target in edges(module)}
    wrong = [
        short(target) for target, theirs in places.items() if theirs != mine and PLACE[theirs or ""] <= PLACE[mine]
    ]
    assert not wrong, f"{short(module)} must not import {', '.join(sorted(wrong))}"


def test_nothing_goes_in_a_circle() -> None:
    order = TopologicalSorter({module: edges(module) for module in MODULES}).static_order()
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("name", PURE)
def test_what_decides_asks_no_clock_and_no_file(name: str) -> None:
    assert imported(MODULES[f"dmtcp_py.{name}"]).isdisjoint(IMPURE)


@pytest.mark.parametrize("module", [module for module in MODULES if not short(module).startswith(("engine", "cli"))])
def test_only_the_engines_package_knows_an_engine_by_name(module: str) -> None:
    assert not any("engine.dmtcp" in name or "engine.criu" in name for name in imported(MODULES[module]))


def test_what_runs_in_namespaces_needs_no_package_besides_this_one() -> None:
    """There it runs without site-packages, and a program may bring a Python with others."""
    inside = [name for name in MODULES if name.startswith("dmtcp_py.engine.criu.inside")]
    names = [*inside, "dmtcp_py.engine.tcp_ports"]
    code = f"import sys; sys.path.insert(0, {str(ROOT.parent)!r}); import {', '.join(names)}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
