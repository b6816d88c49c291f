"""Every sentence in the code that a user may read, collected from the source: ``python -m kit.sentences`` writes them.

An error stands as it is printed, with what to do after the semicolon; what is filled in has the name of its value.
Help is left out: the manual pages have it.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from kit.places import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = REPOSITORY / "tests/messages.txt"
_HEAD = """\
Every sentence that dmtcp-py may print, by the module that has it. 'make messages' writes this file; a test compares it
with the source, so that each change of a sentence is seen and read as what it is: prose.
"""
_FEWEST_WORDS = 3
_WORD = re.compile(r"[a-zA-Z][a-z']*[,.:;]?")
_NO_SENTENCE = re.compile(r"[\n\\^]|^\S+ \d|^DMTCP [\d., ]+|^CRIU [\d., ]+")
_HELP = ("help", "epilog", "metavar", "tested")


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    root = REPOSITORY / "dmtcp_py"
    for path in sorted(root.rglob("*.py")):
        found = list(dict.fromkeys(_sentences(path)))
        if found:
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            parts.append("\n".join([name, *(f"  {text}" for text in found)]) + "\n")
    return "\n".join(parts)


def _sentences(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for text in _texts(tree):
        # a value may be a word: "generation {generation} of {count}"
        words = [word for word in re.sub(r"\{\w+\}", "value", text).split() if _WORD.fullmatch(word)]
        if len(words) >= _FEWEST_WORDS and not _NO_SENTENCE.search(text):
            yield text


def _texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts below NODE, without docstrings and help; those of an error as one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.keyword) and node.arg in _HELP:
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
        texts = [_text(one) for one in node.args]
        if texts and None not in texts:
            yield "; ".join(text for text in texts if text)
            return
    text = _text(node)
    if text is not None:
        yield text
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _text(node: ast.AST) -> str | None:
    """Return the text of a string or an f-string; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else f"{{{_name(one)}}}" for one in node.values)
    return None


def _name(node: ast.AST) -> str:
    """Return the name of the value that is filled in: the last one in its expression."""
    names = [one.attr if isinstance(one, ast.Attribute) else one.id for one in _named(node)]
    return next((name for name in names if not name.startswith("_")), names[0] if names else "value").lstrip("_")


def _named(node: ast.AST) -> Iterator[ast.Attribute | ast.Name]:
    """Yield the names in an expression, what is passed to a function before the function."""
    if isinstance(node, ast.Call):
        for one in (*node.args, node.func):
            yield from _named(one)
    elif isinstance(node, ast.Attribute | ast.Name):
        yield node
    else:
        for child in ast.iter_child_nodes(node):
            yield from _named(child)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
