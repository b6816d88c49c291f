"""All paths below the directory of the jobs, and the names that are valid there."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEALED = "sealed"
"""The file in a generation's directory that holds its images in their sealed form."""
SEALING = f".{SEALED}."
"""How its name begins until it is complete."""
UNSEALED = ".image"
"""How the name of a copy ends that a mirror is sent of a sealed image."""
_PARTIAL = ".partial"
_JOB_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,127}"
_GENERATION = r"(?!0+$)[0-9]{6}|[1-9][0-9]{6,}"


class JobLayout(NamedTuple):
    """The paths of one job."""

    root: Path

    @property
    def name(self) -> str:
        """The job's name."""
        return self.root.name

    @property
    def job(self) -> Path:
        """The record of the job's command and files; written once a lineage."""
        return self.root / "job.json"

    @property
    def lock(self) -> Path:
        """The lock file of the running attempt; its mtime is the heartbeat."""
        return self.root / "lock"

    @property
    def epochs(self) -> Path:
        """The claims of epochs: one link an attempt, see `dmtcp_py.store.claims`."""
        return self.root / "epochs"

    def claim(self, epoch: int) -> Path:
        """Return the link by which an attempt claims EPOCH."""
        return self.epochs / f"{epoch:06}"

    @property
    def state(self) -> Path:
        """The record of what the newest attempt is doing, or of how it ended."""
        return self.root / "state.json"

    @property
    def verifying(self) -> Path:
        """How much of a generation is verified, while that lasts."""
        return self.root / "verifying.json"

    @property
    def life(self) -> Path:
        """A link with what the program may read of the life that goes on."""
        return self.root / "life"

    @property
    def history(self) -> Path:
        """The history, one line an event."""
        return self.root / "history.jsonl"

    @property
    def stdin_copy(self) -> Path:
        """A copy of the standard input, if that file has no name (any more)."""
        return self.root / "stdin"

    def input(self, lineage: int) -> Path:
        """Where what the program of LINEAGE reads from a pipe on its standard input is kept."""
        return self.inputs / f"{lineage:06}"

    @property
    def inputs(self) -> Path:
        """The input of the current lineage, and of those before that were not removed yet."""
        return self.root / "input"

    @property
    def batch_script(self) -> Path:
        """The script of the batch job, kept for a resubmission."""
        return self.root / "batch-script"

    @property
    def requests(self) -> Path:
        """The requests of dmtcp-ctl, one file each."""
        return self.root / "requests"

    @property
    def spool(self) -> Path:
        """Where a computation on several nodes leaves its requests to the nodes; the commands lie beside it."""
        return self.root / "nodes" / "spool"

    @property
    def staging(self) -> Path:
        """Where engines write; nothing in it is trusted."""
        return self.root / "staging"

    @property
    def undo(self) -> Path:
        """The journal of the program's changes to files since each checkpoint, with copies of the old content."""
        return self.root / "undo"

    @property
    def programs(self) -> Path:
        """Copies of the user's own programs and libraries, for engines whose images lack them."""
        return self.root / "programs"

    @property
    def packed(self) -> Path:
        """What of the job a plain copy would not keep, while it is copied; see `dmtcp_py.store.packed`."""
        return self.root / "packed.tar"

    @property
    def mirrors(self) -> Path:
        """How far each mirror is, one file a mirror."""
        return self.root / "mirrors"

    @property
    def generations(self) -> Path:
        """The committed generations, and partial ones, which are never read."""
        return self.root / "generations"

    def generation(self, number: int) -> Path:
        """Return the directory of generation NUMBER once it is complete."""
        return self.generations / f"{number:06}"

    def partial(self, number: int) -> Path:
        """Return the directory in which generation NUMBER is assembled."""
        return self.generations / f"{number:06}{_PARTIAL}"

    def others(self) -> tuple[Path, ...]:
        """Return the files and directories, besides generations, that a resume on another machine needs."""
        return (self.job, self.state, self.history, self.stdin_copy, self.inputs, self.undo, self.programs)

    def generation_numbers(self) -> list[int]:
        """Return the numbers of the complete generations, lowest first."""
        return sorted(int(name) for name in self._generation_names() if re.fullmatch(_GENERATION, name))

    def generations_from(self, first: int) -> tuple[int, ...]:
        """Return the numbers of the complete generations from number FIRST on, highest first."""
        return tuple(number for number in reversed(self.generation_numbers()) if number >= first)

    def left_of_sealing(self) -> list[Path]:
        """Return what processes that were killed left behind of sealing images, and of reading sealed ones."""
        found = [*self.mirrors.glob(f"*{UNSEALED}")]
        for name in self._generation_names():
            # it may be removed meanwhile
            with suppress(FileNotFoundError):
                found += (self.generations / name).glob(f"{SEALING}*")
        return found

    def partials(self) -> list[Path]:
        """Return the partial generations that earlier attempts left behind."""
        return sorted(self.generations / name for name in self._generation_names() if name.endswith(_PARTIAL))

    def _generation_names(self) -> list[str]:
        try:
            return os.listdir(self.generations)  # noqa: PTH208 - names are all, of thousands of jobs
        except (FileNotFoundError, NotADirectoryError):
            return []


def manifest_path(generation: Path) -> Path:
    """Return the path of the manifest in directory GENERATION."""
    return generation / "manifest.json"


def job_layout(directory: Path, name: str) -> JobLayout:
    """Return the paths of job NAME below DIRECTORY; raise UsageError if NAME could lead elsewhere."""
    if not re.fullmatch(_JOB_NAME, name):
        raise UsageError(
            f"'{name}' is not a valid job name",
            "use at most 128 letters, digits and _ . + = @ -, and no dot or dash at the beginning",
        )
    return JobLayout(directory / name)


def chain_path(directory: Path, job_id: str) -> Path:
    """Return the path of the file that says which batch job continues batch job JOB_ID."""
    return directory / f".chain-{_plain(job_id)}"


def starts_path(directory: Path, job_id: str) -> Path:
    """Return the path of the file that lists the starts of batch job JOB_ID."""
    return directory / f".starts-{_plain(job_id)}"


def jobs_in(directory: Path) -> Iterator[JobLayout]:
    """Yield the jobs in DIRECTORY, sorted by name."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        layout = JobLayout(path)
        if re.fullmatch(_JOB_NAME, path.name) and layout.job.is_file():
            yield layout


def _plain(job_id: str) -> str:
    return re.sub(r"[^0-9A-Za-z_.-]", "-", job_id)
