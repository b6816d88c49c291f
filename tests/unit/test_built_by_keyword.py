"""Records of more than three fields are built by keyword: one field more must not shift what all others mean."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dmtcp_py

ROOT = Path(dmtcp_py.__file__).parent
MOST = 3
RECORD_BASES = {"NamedTuple", "Struct"}
MODULES = sorted(ROOT.rglob("*.py"))


def name_in(node: ast.expr) -> str:
    """Return the last part of a dotted name, or of what is called by it."""
    if isinstance(node, ast.Call):
        return name_in(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def fields_of(node: ast.ClassDef) -> int:
    """Return how many fields a record has; 0 for a class that is none."""
    is_record = "dataclass" in map(name_in, node.decorator_list) or not RECORD_BASES.isdisjoint(
        map(name_in, node.bases)
    )
    return sum(isinstance(line, ast.AnnAssign) for line in node.body) if is_record else 0


def records(source: str) -> dict[str, int]:
    """Return the records that SOURCE defines, with their numbers of fields."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return {node.name: fields_of(node) for node in classes if fields_of(node)}


def built_by_position(source: str, known: dict[str, int]) -> list[str]:
    """Return the calls in SOURCE that build one of the KNOWN records from too many positional values."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and known.get(name_in(node.func), 0) > MOST:
            is_open = any(isinstance(word, ast.Starred) for word in node.args)
            if is_open or len(node.args) > MOST:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


KNOWN = {name: count for path in MODULES for name, count in records(path.read_text(encoding="utf-8")).items()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_record_of_many_fields_is_built_by_position(path: Path) -> None:
    assert not built_by_position(path.read_text(encoding="utf-8"), KNOWN)


def test_the_records_of_each_kind_are_known() -> None:
    assert {"Job", "HeldFile", "StagedImages", "Inspection"} <= KNOWN.keys()


@pytest.mark.parametrize("line", ["StagedImages(1, 2, 3, 4)", "staged.StagedImages(*values)", "Job(1, 2, 3, 4, a=5)"])
def test_such_a_line_would_be_seen(line: str) -> None:
    assert built_by_position(line, KNOWN)
    assert not built_by_position("StagedImages(1, 2, 3, files=4)", KNOWN)
