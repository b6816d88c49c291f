"""Where a program is rehearsed, and that afterwards nothing is left of it: copies, private folders, changed files."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.errors import UsageError
from dmtcp_py.rehearsal import touched
from dmtcp_py.rehearsal.given_input import given_input
from dmtcp_py.rehearsal.life import Stage
from dmtcp_py.rehearsal.scratch import Survey, make_copy, moved, survey
from dmtcp_py.system.files import make_private_dir, remove_tree
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.rehearsal.findings import Trial
    from dmtcp_py.rehearsal.given_input import GivenInput
    from dmtcp_py.rehearsal.request import Request


class Place(Struct):
    """Where the stages of a rehearsal are: copies of FOLDER, or FOLDER itself, and private folders in BASE."""

    request: Request
    folder: Path
    base: Path
    given: GivenInput
    survey: Survey | None
    stages: dict[str, list[Stage]]
    problems: list[str]

    def make_stage(self, name: str) -> Stage:
        """Return a new stage for NAME: in a new copy, or in the directory as it was."""
        self.put_back(name)
        private = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.base))
        folder, command, stdin = self.folder, self.request.command, self.given.path
        if self.survey is not None:
            folder = make_copy(self.folder, self.survey, but=self.request.directory, fallback=self.base)
            command = moved(command, self.folder, folder)
            if stdin is not None and not stdin.is_relative_to(self.base):
                stdin = Path(moved([str(stdin)], self.folder, folder)[0])
        stage = Stage(folder=folder, private=private, command=command, stdin=stdin, is_copy=self.survey is not None)
        self.stages.setdefault(name, []).append(stage)
        return stage

    def stage_of(self, trial: Trial) -> Stage:
        """Return the stage of TRIAL."""
        return self.stages[trial.engine][-1]

    def put_back(self, name: str) -> None:
        """Undo what NAME did to files here, or outside of its copy."""
        for stage in self.stages.get(name, [])[-1:]:
            stage.clear()
            if self.survey is None or touched.outside(stage):
                self.problems += touched.undo_all(stage)

    def as_here(self, trial: Trial) -> Trial:
        """Return TRIAL with this directory where its texts name the copy."""
        copy, here = str(self.stage_of(trial).folder), str(self.folder)
        problem = None if trial.problem is None else trial.problem.replace(copy, here)
        return replace(trial, problem=problem, warnings=tuple(text.replace(copy, here) for text in trial.warnings))

    def close(self) -> tuple[str, ...]:
        """Remove all stages; return what could not be undone."""
        for stage in [stage for stages in self.stages.values() for stage in stages]:
            stage.clear()
            if self.survey is not None:
                remove_tree(stage.folder)
        self.stages.clear()
        return tuple(dict.fromkeys(self.problems))

    def text(self, outside: list[str]) -> str:
        """Return as a sentence where the program ran, and what became of its files."""
        if self.survey is None:
            changed = f", outside of it too: {', '.join(outside)}" if outside else ""
            return f"in {self.folder} itself; what the program changed was put back{changed}"
        changed = f"; what it changed outside was put back: {', '.join(outside)}" if outside else ""
        linked = f", with links to {', '.join(path.name for path in self.survey.linked)}" if self.survey.linked else ""
        files = f"{self.survey.files} file{'' if self.survey.files == 1 else 's'}, {format_size(self.survey.size)}"
        return f"in a copy of this directory ({files}{linked}), now removed{changed}"


@contextmanager
def open_place(request: Request, cwd: Path) -> Iterator[Place]:
    """Yield the place in which REQUEST is rehearsed; afterwards nothing of it is left.

    Raises UsageError if the working directory CWD is too large to copy.
    """
    directory = request.directory
    if request.compare and request.in_place:
        raise UsageError("--compare cannot be used with --in-place", "the runs to compare with need a copy")
    links = [Path(os.path.abspath(path)) for path in request.links]  # noqa: PTH100 - keeps symlinks
    found = None if request.in_place else survey(cwd, links=links, but=directory)
    is_new = make_private_dir(directory)
    base = Path(tempfile.mkdtemp(prefix=".rehearsal-", dir=directory))
    place = None
    try:
        place = Place(
            request=request, folder=cwd, base=base, given=given_input(base), survey=found, stages={}, problems=[]
        )
        yield place
    finally:
        if place is not None:
            for name in place.stages:
                place.put_back(name)
            place.close()
        remove_tree(base)
        if is_new:
            with suppress(OSError):
                directory.rmdir()
