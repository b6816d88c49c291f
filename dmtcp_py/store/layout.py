"""Every path below the directory in which jobs are kept, and the names that may stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_JOB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,127}")
_GENERATION = re.compile(r"(?!0+$)[0-9]{6}|[1-9][0-9]{6,}")


@dataclass(frozen=True)
class JobLayout:
    """The paths of one job."""

    root: Path

    @property
    def name(self) -> str:
        """The job's name."""
        return self.root.name

    @property
    def job(self) -> Path:
        """The record of what the job is; written once a lineage."""
        return self.root / "job.json"

    @property
    def lock(self) -> Path:
        """The file that the running attempt holds; its mtime is the heartbeat."""
        return self.root / "lock"

    @property
    def state(self) -> Path:
        """What the running attempt is doing now."""
        return self.root / "state.json"

    @property
    def history(self) -> Path:
        """One line for each thing that happened."""
        return self.root / "history.jsonl"

    @property
    def stdin_copy(self) -> Path:
        """The content of a standard input that has no name any more."""
        return self.root / "stdin"

    @property
    def batch_script(self) -> Path:
        """The script of the batch job, from which it can be submitted again."""
        return self.root / "batch-script"

    @property
    def requests(self) -> Path:
        """One file for each thing that dmtcp-ctl asks for."""
        return self.root / "requests"

    @property
    def spool(self) -> Path:
        """Where a computation over several nodes leaves what it asks of them; beside it, the commands that do so."""
        return self.root / "nodes" / "spool"

    @property
    def staging(self) -> Path:
        """Where engines write; never trusted."""
        return self.root / "staging"

    @property
    def undo(self) -> Path:
        """What the program did to files since the checkpoints, and what they held."""
        return self.root / "undo"

    @property
    def generations(self) -> Path:
        """The committed generations, and partial ones that are never read."""
        return self.root / "generations"

    def generation(self, number: int) -> Path:
        """Return where generation NUMBER is once it is complete."""
        return self.generations / f"{number:06}"

    def partial(self, number: int) -> Path:
        """Return where generation NUMBER is put together."""
        return self.generations / f"{number:06}.partial"

    def generation_numbers(self) -> list[int]:
        """Return the numbers of the complete generations, lowest first."""
        if not self.generations.is_dir():
            return []
        return sorted(int(path.name) for path in self.generations.iterdir() if _GENERATION.fullmatch(path.name))

    def generations_from(self, first: int) -> tuple[int, ...]:
        """Return the numbers of the complete generations from number FIRST on, highest first."""
        return tuple(number for number in reversed(self.generation_numbers()) if number >= first)

    def partials(self) -> list[Path]:
        """Return what earlier attempts left half done."""
        return sorted(self.generations.glob("*.partial"))


def manifest_path(generation: Path) -> Path:
    """Return the manifest of the generation in folder GENERATION."""
    return generation / "manifest.json"


def job_layout(directory: Path, name: str) -> JobLayout:
    """Return the paths of job NAME below DIRECTORY; a name that could lead elsewhere is refused."""
    if not _JOB_NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot name a job",
            "use letters, digits and _ . + = @ -, at most 128, not starting with a dot or a dash",
        )
    return JobLayout(directory / name)


def chain_path(directory: Path, job_id: str) -> Path:
    """Return where it stands who continues the scheduler's job JOB_ID."""
    return directory / f".chain-{re.sub(r'[^0-9A-Za-z_.-]', '-', job_id)}"


def jobs_in(directory: Path) -> Iterator[JobLayout]:
    """Yield the jobs kept in DIRECTORY, by name."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        layout = JobLayout(path)
        if _JOB_NAME.fullmatch(path.name) and layout.job.is_file():
            yield layout
