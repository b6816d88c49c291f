"""What dmtcp-run keeps in the folder of a job, for a test to look at. The folder's layout is in docs/format.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def jobs_in(folder: Path) -> list[Path]:
    """Return the folders of the jobs in FOLDER, the oldest first."""
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(found, key=_begun)


def _begun(job: Path) -> float:
    record = job / "job.json"
    return record.stat().st_mtime if record.exists() else float("inf")


def history_of(job: Path) -> list[dict[str, Any]]:
    """Return the lines of the job's history; none before it has begun."""
    path = job / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def events_of(job: Path) -> list[str]:
    """Return what happened to the job, by name."""
    return [line["event"] for line in history_of(job)]


def generations_of(job: Path) -> list[int]:
    """Return the numbers of the job's complete generations."""
    folder = job / "generations"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def manifest_of(job: Path, generation: int) -> dict[str, Any]:
    """Return the manifest of a generation."""
    found: dict[str, Any] = json.loads((job / "generations" / f"{generation:06}" / "manifest.json").read_text())
    return found
