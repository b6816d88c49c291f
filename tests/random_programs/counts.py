"""How random programs came out, for each engine and commit: kept in docs/random.json, and shown in docs/state.md."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from kit.places import REPOSITORY
from random_programs.life import Outcome
from random_programs.state_cells import without_numbers
from zoo.tables import escaped, table, title

if TYPE_CHECKING:
    from random_programs.campaign import Finding

RESULTS = REPOSITORY / "docs" / "random.json"
_HEAD = """\
## Random programs

`make random` writes programs of 30 to 200 random steps, which set state of the kinds above and change files in up to
five processes and threads. It takes two or three checkpoints of each at random moments, kills it at random moments
after them, and resumes it; after each step the program compares the kernel with what it has set. A row counts the
programs of one commit; a plus means changes after it. The list names each that was not right: *BROKEN* is a fault of
the program itself, without dmtcp-run.
"""
_COLUMNS = tuple(outcome.value for outcome in Outcome)
_DETAIL_CHARS = 200


def commit() -> str:
    """Return the commit that is here, with a plus if the package or the programs are changed."""
    git = ["git", "-C", str(REPOSITORY)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "dmtcp_py", "tests"], check=False)
    return head.stdout.strip() + "+" * (changed.returncode != 0)


def keep(finding: Finding, at: str) -> None:
    """Add what came of one program at commit AT; programs of the same seed count once for a commit."""
    folder = os.open(RESULTS.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        RESULTS.write_text(json.dumps(added(load(), finding, at), indent=1, ensure_ascii=False) + "\n")
    finally:
        os.close(folder)


def load() -> list[dict[str, Any]]:
    """Return what was counted until now."""
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    return found


def added(rows: list[dict[str, Any]], finding: Finding, at: str) -> list[dict[str, Any]]:
    """Return ROWS with what came of one program at commit AT."""
    result, today = finding.result, datetime.now(timezone.utc).date().isoformat()
    row = next((one for one in rows if (one["engine"], one["commit"]) == (finding.engine, at)), None)
    if row is None:
        row = {"engine": finding.engine, "commit": at, "date": today, "seeds": [], "counts": {}, "not right": {}}
        rows.append(row)
    if any(first <= finding.seed <= last for first, last in row["seeds"]):
        return rows
    row["seeds"] = _ranges(row["seeds"], finding.seed)
    row["counts"][result.outcome.value] = row["counts"].get(result.outcome.value, 0) + 1
    if result.outcome is not Outcome.RIGHT:
        row["not right"][str(finding.seed)] = (
            f"{result.outcome.value}: {without_numbers(result.detail)[:_DETAIL_CHARS]}"
        )
    return sorted(rows, key=lambda one: (not one["engine"].startswith("dmtcp"), one["engine"], one["date"]))


def _ranges(ranges: list[list[int]], seed: int) -> list[list[int]]:
    """Return RANGES, each with its first and its last number, with SEED in them."""
    joined: list[list[int]] = []
    for first, last in sorted([*ranges, [seed, seed]]):
        if joined and first == joined[-1][1] + 1:
            joined[-1][1] = last
        else:
            joined.append([first, last])
    return joined


def section(rows: list[dict[str, Any]]) -> str:
    """Return the part of the page for ROWS."""
    lines = [
        [title(row["engine"]), row["commit"], _seeds(row), str(sum(row["counts"].values())), *_cells(row)]
        for row in rows
    ]
    others = [
        f"- {title(row['engine'])}, {row['commit']}, seed {seed}: {escaped(words)}"
        for row in rows
        for seed, words in row["not right"].items()
    ]
    return "\n".join([_HEAD, table(["engine", "commit", "seeds", "tried", *_COLUMNS], lines), *others, ""])


def _cells(row: dict[str, Any]) -> list[str]:
    return [str(row["counts"].get(name, 0)) for name in _COLUMNS]


def _seeds(row: dict[str, Any]) -> str:
    return f"{row['seeds'][0][0]} to {row['seeds'][-1][1]}"
