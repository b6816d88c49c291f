"""What a rehearsal found: plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from dmtcp_py.rehearsal.comparison import Difference


class Trial(Struct, frozen=True, kw_only=True):
    """What came of a trial under one engine: PROBLEM is why the resumed run is not right, or why there is none."""

    engine: str
    version: str | None = None
    problem: str | None = None
    ended_early: bool = False
    """Whether the program ended before it could be killed, for which no engine is to blame."""
    size: int | None = None
    """The size of one image, in bytes."""
    processes: int | None = None
    pause_s: float | None = None
    """For how long the program waited for a checkpoint."""
    resume_s: float | None = None
    ran_on_s: float | None = None
    """How long the resumed program was seen to run."""
    status: int | None = None
    """The exit status of the resumed program, if it ended."""
    last_words: str = ""
    """The last line that the resumed program printed."""
    expected_status: int | None = None
    """The exit status of a run that was not killed, if there was one."""
    printed: int = 0
    """How many bytes it printed once more after the resume, which were compared."""
    difference: Difference | None = None
    """Where they differ from what it had printed before the crash."""
    files: tuple[str, ...] = ()
    """The files that it had changed since the checkpoint, which were restored before it was resumed."""
    outside: tuple[str, ...] = ()
    """Those outside its directory that it changed at any time."""
    warnings: tuple[str, ...] = ()
    """What dmtcp-run warned of."""

    @property
    def doubt(self) -> str | None:
        """What a crash may have made different, or each run may do: only a run that nobody disturbs shows that."""
        if self.status not in (None, self.expected_status or 0):
            said = f" ({self.last_words})" if self.last_words else ""
            return f"after the resume it ended with status {self.status}{said}"
        if self.difference is not None:
            return f"after the resume it printed something else than before the crash ({self.difference.text})"
        return None

    @property
    def has_same_state(self) -> bool:
        """Whether the processes were after the resume what they had been."""
        return not any(text.startswith("not as before") for text in self.warnings)

    @property
    def works(self) -> bool:
        """Whether the resumed run was right."""
        return self.problem is None

    @property
    def engine_text(self) -> str:
        """The engine's name and version."""
        return f"{self.engine} {self.version}" if self.version else self.engine


class Comparison(Struct, frozen=True, kw_only=True):
    """What a comparison with runs without dmtcp-run found; PROBLEM is a difference that the resume made."""

    problem: str | None = None
    printed: int = 0
    """How many bytes of output are the same."""
    is_whole: bool = False
    """Whether both runs had ended, so that files were compared too."""
    varies: str | None = None
    """Where two runs without dmtcp-run differ from each other, so that no more can be compared."""
    skipped: str | None = None
    """Why nothing was compared."""
    status: int | None = None


class Rehearsal(Struct, frozen=True, kw_only=True):
    """What came of a rehearsal."""

    command: tuple[str, ...]
    took_s: float
    place: str
    """Where the program ran, and what became of its files, as a sentence."""
    trials: tuple[Trial, ...]
    absent: dict[str, str]
    """The engines that are not here, each with the reason."""
    comparison: Comparison | None
    best: Trial | None
    """The trial of the engine to use; None if none works."""
    line: str | None
    """The line for the batch script."""
    notes: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether a resumed run was right."""
        return self.best is not None
