"""Draw a job's life: how far the program is, over time. ``python docs/tools/life.py`` writes docs/life.svg."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = Path(__file__).parents[1] / "life.svg"
_WIDTH, _HEIGHT = 800, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 30, 310
_HOURS, _ALL = 27.0, 20.0
"""How long the picture is, and how long the program computes."""
_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #24292f }
.small { font-size: 13px; fill: #57606a }
.axis { stroke: #8c959f; fill: none }
.computes { stroke: #0969da; stroke-width: 3; fill: none; stroke-linecap: round }
.waits { stroke: #8c959f; stroke-width: 2; stroke-dasharray: 2 5; fill: none; stroke-linecap: round }
.lost { stroke: #cf222e; stroke-width: 2; stroke-dasharray: 5 4; fill: none }
.checkpoint { fill: #fff; stroke: #0969da; stroke-width: 2 }
.last { fill: #0969da }
.crash { stroke: #cf222e; stroke-width: 3; stroke-linecap: round }
.end { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .computes { stroke: #58a6ff }
  .checkpoint { fill: #0d1117; stroke: #58a6ff }
  .last { fill: #58a6ff }
  .lost, .crash { stroke: #f85149 }
  .end { fill: #3fb950 }
}
"""
_DESCRIPTION = (
    "The program computes and is checkpointed every two hours. After seven hours its node fails; the same line resumes "
    "it from the checkpoint at six hours. Right before the time limit there is a last checkpoint; the job is "
    "requeued, waits in the queue, resumes without loss and finishes with status 0."
)


@dataclass(frozen=True)
class Run:
    """One run of the job: when it begins, how far the program is then, and how long it computes, in hours."""

    begins: float
    done: float
    computes: float
    checkpoints: tuple[float, ...]
    """After how many hours of computing."""

    @property
    def end(self) -> tuple[float, float]:
        """When it ends, and how far the program is then."""
        return self.begins + self.computes, self.done + self.computes


_FIRST = Run(begins=0, done=0, computes=7, checkpoints=(2, 4, 6))
_SECOND = Run(begins=8, done=6, computes=5, checkpoints=(2, 4, 5))
_THIRD = Run(begins=16, done=11, computes=9, checkpoints=(2, 4, 6, 8))
_RUNS = (_FIRST, _SECOND, _THIRD)


def picture() -> str:
    """Return the picture."""
    parts = [*_axes(), *_waits(), *(line for run in _RUNS for line in _run(run)), *_ends(), *_words()]
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-labelledby="title about">'
    about = f'<title id="title">A job\'s life</title>\n<desc id="about">{_DESCRIPTION}</desc>'
    return "\n".join([head, about, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def _at(hours: float, done: float) -> tuple[float, float]:
    """Return where in the picture the program is so far at HOURS."""
    x = _LEFT + hours / _HOURS * (_WIDTH - _LEFT - _RIGHT)
    return round(x, 1), round(_BOTTOM - done / _ALL * (_BOTTOM - _TOP), 1)


def _line(kind: str, *points: tuple[float, float]) -> str:
    path = " ".join(f"{x},{y}" for x, y in (_at(*point) for point in points))
    return f'<polyline class="{kind}" points="{path}"/>'


def _text(hours: float, done: float, words: str, *, kind: str = "", shift: tuple[float, float] = (0, 0)) -> str:
    x, y = _at(hours, done)
    return f'<text class="{kind}" x="{x + shift[0]:g}" y="{y + shift[1]:g}">{words}</text>'


def _axes() -> Iterator[str]:
    yield _line("axis", (0, _ALL), (0, 0), (_HOURS, 0))
    yield _text(0, _ALL, "100 %", kind="small", shift=(-46, 5))
    yield _text(0, 0, "0 %", kind="small", shift=(-32, 5))
    yield from (_text(hours, 0, f"{hours} h", kind="small", shift=(-10, 20)) for hours in (6, 12, 18, 24))
    yield _text(0, 0, "time", kind="small", shift=(0, 40))


def _waits() -> Iterator[str]:
    """Yield what was lost, and the times in which nothing runs."""
    yield _line("lost", _FIRST.end, (_FIRST.end[0], _SECOND.done))
    for before, after in pairwise(_RUNS):
        yield _line("waits", (before.end[0], after.done), (after.begins, after.done))


def _run(run: Run) -> Iterator[str]:
    yield _line("computes", (run.begins, run.done), run.end)
    for hours in run.checkpoints:
        x, y = _at(run.begins + hours, run.done + hours)
        kind = "checkpoint last" if run is _SECOND and hours == run.computes else "checkpoint"
        yield f'<circle class="{kind}" cx="{x}" cy="{y}" r="5"/>'


def _ends() -> Iterator[str]:
    """Yield the marks of the crash and of the end."""
    x, y = _at(*_FIRST.end)
    yield f'<path class="crash" d="M{x - 6} {y - 6}l12 12m0-12l-12 12"/>'
    x, y = _at(*_THIRD.end)
    yield f'<circle class="end" cx="{x}" cy="{y}" r="8"/>'


def _words() -> Iterator[str]:
    yield _text(*_FIRST.end, "the node fails", shift=(-100, -14))
    yield _text(_SECOND.begins, _SECOND.done, "the same line resumes", shift=(10, 16))
    yield _text(_SECOND.begins, _SECOND.done, "from the newest checkpoint", shift=(10, 33))
    yield _text(*_SECOND.end, "time limit: last checkpoint,", shift=(-190, -30))
    yield _text(*_SECOND.end, "the job requeues itself", shift=(-190, -13))
    yield _text(_SECOND.end[0], _SECOND.end[1], "in the queue", kind="small", shift=(14, -9))
    yield _text(_THIRD.begins, _THIRD.done, "resumes: nothing lost", shift=(14, 18))
    yield _text(*_THIRD.end, "finished, status 0", shift=(-140, 0))
    x, y = _at(0.6, 16)
    yield f'<circle class="checkpoint" cx="{x}" cy="{y}" r="5"/>'
    yield _text(0.6, 16, "a checkpoint", kind="small", shift=(12, 5))


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
