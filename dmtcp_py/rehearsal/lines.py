"""The result of a rehearsal in about ten lines, and as plain values. PURE."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from dmtcp_py.rehearsal.schedule import KEEP, most_bytes_on_disk, upkeep
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.rehearsal.findings import Comparison, Rehearsal, Trial

_MOST_NAMES = 4
_MOST_WARNINGS = 3
_BUFFERED = " (into a file, programs print some kB at a time: python3 -u and stdbuf -oL print each line at once)"
_EXPECTED = ("restored ", "what ", "cut off ")


def lines(rehearsal: Rehearsal, columns: int | None) -> list[str]:
    """Return the result as it is printed, in lines of COLUMNS; None for lines of any length.

    The line for the batch script is the last, and left whole: it is to be pasted.
    """
    rows = [*_engines(rehearsal), *(_of(rehearsal.best, rehearsal.comparison) if rehearsal.best else ())]
    rows += [("note", text) for text in _notes(rehearsal)]
    width = max(len(name) for name, _ in rows) + 2
    body: list[str] = []
    for name, text in rows:
        body += _wrapped(f"  {name:{width}}", text, columns)
    pasted = [] if rehearsal.line is None else [f"  {'batch job':{width}}{rehearsal.line}"]
    return [_verdict(rehearsal), *body, *pasted]


def _wrapped(first: str, text: str, columns: int | None) -> list[str]:
    if columns is None:
        return [first + text]
    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )


def plain(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return the result for ``--json``."""
    best = rehearsal.best
    found: dict[str, Any] = to_builtins(rehearsal)
    found["best"] = None if best is None else best.engine
    found["works"] = rehearsal.works
    for trial, values in zip(rehearsal.trials, found["trials"], strict=True):
        values["works"] = trial.works
        if trial.pause_s is not None and trial.size is not None:
            values["upkeep"] = to_builtins(upkeep(trial.pause_s))
            values["disk"] = most_bytes_on_disk(trial.size, KEEP)
    return found


def _verdict(rehearsal: Rehearsal) -> str:
    command, took = shlex.join(rehearsal.command), format_duration(rehearsal.took_s)
    if rehearsal.best is not None:
        return f"{command} can be killed and resumed with {rehearsal.best.engine_text} (rehearsed for {took})"
    if any(trial.ended_early for trial in rehearsal.trials):
        return f"{command} could not be rehearsed"
    return f"{command} CANNOT be resumed after a crash (rehearsed for {took})"


def _engines(rehearsal: Rehearsal) -> Iterator[tuple[str, str]]:
    for trial in rehearsal.trials:
        if trial.works:
            ran = "to its end" if trial.status is not None else f"for {format_duration(trial.ran_on_s or 0)}"
            state = " in the same state" if trial.has_same_state else ""
            text = f"works: checkpointed twice, killed, resumed{state}; ran on {ran}"
        elif trial.ended_early:
            text = trial.problem or ""
        else:
            text = f"does not work: {_reason(trial.problem or '', rehearsal)}"
        yield trial.engine_text, text
    for name, problem in rehearsal.absent.items():
        # another engine does not help a program that fails
        is_of_use = not rehearsal.works and not any(trial.ended_early for trial in rehearsal.trials)
        yield name, f"not here: {problem}" if is_of_use else _absent(problem)
    yield "where", rehearsal.place


def _absent(problem: str) -> str:
    """Return what PROBLEM of an engine means where another one works."""
    return (
        "not installed, and not needed" if "not installed" in problem else f"not needed: {problem.partition('; ')[0]}"
    )


def _reason(problem: str, rehearsal: Rehearsal) -> str:
    """Return PROBLEM of an engine; what to do about it only if no other engine works."""
    return problem.partition("; ")[0] if rehearsal.works else problem


def _of(trial: Trial, comparison: Comparison | None) -> Iterator[tuple[str, str]]:
    size, pause_s = trial.size or 0, trial.pause_s or 0.0
    cost = upkeep(pause_s)
    processes = f"{trial.processes} processes" if (trial.processes or 0) > 1 else "1 process"
    on_disk = format_size(most_bytes_on_disk(size, KEEP))
    yield "images", f"{format_size(size)} each ({processes}); {on_disk} with --keep {KEEP}, while the next is written"
    yield "pause", f"{_seconds(pause_s)} for a checkpoint, {_seconds(trial.resume_s or 0)} to resume"
    by_hand = f"{cost.count} x {_seconds(pause_s)} / 24 h = {cost.share:.2%} of the time"
    yield "interval", f"every {format_duration(cost.interval_s)} (auto): {by_hand}"
    yield "output", _output(trial, comparison)
    yield "files", _files(trial)


def _output(trial: Trial, comparison: Comparison | None) -> str:
    exact = "exact after a crash with --stdout"
    if comparison is not None and comparison.varies is not None:
        return f"{exact}; not comparable, as each run differs ({comparison.varies})"
    if comparison is not None and comparison.skipped is None:
        whole = "; files and exit status too" if comparison.is_whole else ""
        return f"{exact}; the same as of a run without dmtcp-run ({format_size(comparison.printed)}{whole})"
    if trial.printed:
        return f"{exact}; {format_size(trial.printed)} that the crash took were printed again, the same"
    return f"{exact}; nothing was printed between the checkpoint and the crash{_BUFFERED}"


def _files(trial: Trial) -> str:
    if not trial.files:
        return "restored to the checkpoint after a crash; it changed none between the two in this rehearsal"
    more = f" and {len(trial.files) - _MOST_NAMES} more" if len(trial.files) > _MOST_NAMES else ""
    return f"restored to the checkpoint after a crash: {', '.join(trial.files[:_MOST_NAMES])}{more}"


def _notes(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield what else to know, with what dmtcp-run warned of under the best engine: the user would read it too."""
    said = () if rehearsal.best is None else rehearsal.best.warnings
    yield from [text for text in said if not text.startswith(_EXPECTED)][:_MOST_WARNINGS]
    if rehearsal.comparison is not None and rehearsal.comparison.skipped is not None:
        yield f"not compared with a run without dmtcp-run: {rehearsal.comparison.skipped}"
    yield from rehearsal.notes


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
