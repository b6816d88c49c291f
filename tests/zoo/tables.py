"""The tables of a page in Markdown."""

from __future__ import annotations

from kit.engines import NO_PRIVILEGES


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table with a HEAD and ROWS."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def title(engine: str) -> str:
    """Return the name of an engine as it stands at the head of a column."""
    name, _, version = engine.partition("-")
    return f"{name.upper()} {version}".replace(NO_PRIVILEGES, ", no privileges")


def escaped(note: str) -> str:
    """Return NOTE without what has a meaning in a table."""
    return note.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
