"""Comparing a resumed run with one that nobody disturbed, as far as the program does the same in each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.rehearsal import comparison
from dmtcp_py.rehearsal.comparison import Printed
from dmtcp_py.rehearsal.course import Budget
from dmtcp_py.rehearsal.findings import Comparison
from dmtcp_py.rehearsal.life import run_plain, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.rehearsal.findings import Trial
    from dmtcp_py.rehearsal.life import Stage

_LEAST_S = 5.0
_MOST_NAMES = 3


def compare(
    trial: Trial, resumed: Stage, make_stage: Callable[[str], Stage], budget: Budget, say: Callable[[str], None]
) -> Comparison:
    """Compare what the run of TRIAL on stage RESUMED printed, and wrote if it ended, with runs without dmtcp-run.

    A second such run is made only if the first differs: if the two differ from each other too, so does each run.
    """
    if trial.outside:
        return Comparison(skipped=f"another run would change {trial.outside[0]} again")
    if not size_of(resumed.stdout) and trial.status is None:
        return Comparison(skipped="the program has printed nothing until then, and not ended")
    if budget.left_s < _LEAST_S:
        return Comparison(skipped="no time was left")
    first = _Run(make_stage("first"), resumed, Budget(_half(budget)), say)
    found = first.differences(trial.status)
    if not found:
        return first.equal(trial.status)
    second = _Run(make_stage("second"), resumed, budget, say)
    varies = second.differences_to(first)
    if varies:
        return Comparison(varies=varies[0], status=first.status)
    return Comparison(problem=f"the resumed run differs from one that was not disturbed: {found[0]}")


def _half(budget: Budget) -> float:
    return budget.until - budget.left_s / 2


class _Run:
    """A run without dmtcp-run, until it has printed as much as the resumed one, or has ended as that has."""

    def __init__(self, stage: Stage, resumed: Stage, budget: Budget, say: Callable[[str], None]) -> None:
        self.stage, self.resumed = stage, resumed
        say(f"a run without dmtcp-run, to compare with ({stage.private.name.partition('-')[0]})")
        size = size_of(resumed.stdout)
        self.status = run_plain(stage, lambda: bool(size) and size_of(stage.stdout) > size, budget.until)

    def differences(self, resumed_status: int | None) -> list[str]:
        """Return in what the resumed run differs from this one, as far as both have come."""
        return self._from(self.resumed, resumed_status)

    def differences_to(self, other: _Run) -> list[str]:
        """Return in what OTHER, a run without dmtcp-run too, differs from this one."""
        return self._from(other.stage, other.status)

    def _from(self, other: Stage, status: int | None) -> list[str]:
        found = self._of_output(other)
        if status is not None and self.status is not None:
            return found + self._of_end(other, status)
        if status is not None and size_of(self.stage.stdout) > size_of(other.stdout):
            found.append(f"it goes on where the other one ends, with status {status}")
        return found

    def equal(self, resumed_status: int | None) -> Comparison:
        """Return that there is no difference, and how much was compared."""
        return Comparison(
            printed=min(size_of(self.stage.stdout), size_of(self.resumed.stdout)),
            is_whole=self.status is not None and resumed_status is not None,
            status=self.status,
        )

    def _of_output(self, other: Stage) -> list[str]:
        one, two = Printed.read(self.stage.stdout).content, Printed.read(other.stdout).content
        found = comparison.difference(one, two)
        return [] if found is None else [found.text]

    def _of_end(self, other: Stage, status: int) -> list[str]:
        found = [] if status == self.status else [f"status {self.status}, status {status}"]
        if size_of(self.stage.stdout) != size_of(other.stdout):
            found.append(f"{size_of(self.stage.stdout)} bytes of output, {size_of(other.stdout)} bytes")
        if self.stage.folder == other.folder:
            return found
        files = comparison.different_files(self.stage.folder, other.folder)
        more = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
        return found + ([f"{', '.join(files[:_MOST_NAMES])}{more}"] if files else [])
