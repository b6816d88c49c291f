"""What makes the program run: a launch, or a restart from the newest generation that comes up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py import streams
from dmtcp_py.census import SHARED_MEMORY
from dmtcp_py.engine import Launch, Restart, undo
from dmtcp_py.engine.choice import Choice, choose, engine_named
from dmtcp_py.engine.quirks import Applied, apply
from dmtcp_py.engine.unprotected import Unprotected
from dmtcp_py.errors import DmtcpRunError, EngineError, RestartFailedError, StoreError
from dmtcp_py.files import make_temporary, own_folder, remove_temporaries
from dmtcp_py.policy import STOP_SIGNALS
from dmtcp_py.report import VERBOSE
from dmtcp_py.store.verify import verify

if TYPE_CHECKING:
    from dmtcp_py.attempt import Surroundings
    from dmtcp_py.engine import Computation, Spread
    from dmtcp_py.job import Start
    from dmtcp_py.outcome import RunOptions
    from dmtcp_py.report import Report
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.store import Store

SHARED = Path(SHARED_MEMORY)


def choice_for(program: Path, options: RunOptions, spread: Spread | None) -> Choice:
    """Return the engine for PROGRAM; with --allow-unprotected none may be one too."""
    try:
        return choose(program, options.engine, plugin=options.engine_plugin, several_nodes=spread is not None)
    except EngineError as error:
        if not options.allow_unprotected:
            raise
        return Choice(Unprotected(), f"--allow-unprotected: {error.what}")


@dataclass
class Starter:
    """What it takes to make the program of one attempt run, again and again."""

    store: Store
    choice: Choice | None
    """The engine of the computation that runs, or ran last."""
    options: RunOptions
    program: Path
    report: Report
    start: Start
    spread: Spread | None
    quirks: tuple[str, ...] = ()
    """What the program was launched with, so that it works."""

    def make_room(self) -> None:
        """Give the engine an empty place for its images: in the job's folder, or on a disk of this node."""
        parent = self.options.stage_local
        if parent is None:
            self.store.clean()
            return
        remove_temporaries(self.store.layout.root, parent)
        try:
            place = make_temporary(self.store.layout.root, parent)
        except OSError as error:
            # on the next node it may be missing: no reason to end a job
            self.report.warn(f"--stage-local {parent}: {error.strerror}; images are written to the job's folder")
            self.store.clean()
            return
        self.store.clean(place.absolute())

    def launch(self, around: Surroundings) -> Computation:
        """Start the program from its beginning."""
        choice = self.chosen
        quirks = self._apply(choice.engine.name)
        launch = Launch(
            command=self.options.command,
            program=self.program,
            stdio=around.stdio,
            environ=quirks.environ,
            plugins=quirks.plugins,
            folders=quirks.folders,
            undo=self._undo,
            staging=self.store.make_staging(),
            temporary=make_temporary(self.store.layout.root),
            spread=self.spread,
        )
        if self._undo is not None:
            undo.start(self._undo, is_once_more=not self.start.begins_lineage, tell=self.report.warn)
        self._tell_choice()
        for note in quirks.notes:
            self.report.say(f"set {note}", level=VERBOSE, event="quirk")
        self.quirks = quirks.notes
        computation = choice.engine.launch(launch)
        self.store.record("started", lineage=self.start.job.lineage, why=self.start.why, **self._facts())
        self.report.say(
            f"job {self.store.layout.name}: started with {choice.engine_text} ({self.start.why})",
            event="started",
            job=self.store.layout.name,
        )
        return computation

    def resume(self, around: Surroundings, candidates: tuple[int, ...]) -> tuple[Computation | None, Manifest | None]:
        """Go on from the first of CANDIDATES that verifies and comes up; None where a signal ended the wait."""
        reasons = []
        for number in candidates:
            try:
                manifest = verify(self.store.layout, number)
                engine = engine_named(manifest.engine, self.options.engine_plugin)
                self.choice = Choice(engine, f"it made generation {number}")
                self._tell_choice()
                if not self.options.accept_changed_files:
                    streams.refuse_changed(manifest)
                computation = self.choice.engine.restart(self._restart(around, manifest))
            except (StoreError, RestartFailedError) as error:
                if around.stream.has_any(STOP_SIGNALS):
                    return None, None
                reasons.append(f"generation {number}: {error.what}")
                self.store.record("failed", what="restart", generation=number, error=error.what)
                if number != candidates[-1]:
                    self.report.warn(f"generation {number} cannot be used: {error.what}; trying the one before")
                continue
            if computation is not None:
                self._resumed(manifest)
            return computation, manifest
        raise DmtcpRunError(
            f"none of the generations of job {self.store.layout.name} came up ({'; '.join(reasons)})",
            "nothing was started and nothing deleted; --fresh starts over",
        )

    def _restart(self, around: Surroundings, manifest: Manifest) -> Restart:
        # of one node nothing is launched any more
        quirks = self._apply(manifest.engine) if self.spread else None
        return Restart(
            folder=self.store.layout.generation(manifest.generation),
            manifest=manifest,
            stdio=around.stdio,
            environ=quirks.environ if quirks else os.environ,
            staging=self.store.make_staging(),
            temporary=make_temporary(self.store.layout.root),
            is_cancelled=lambda: around.stream.has_any(STOP_SIGNALS),
            plugins=quirks.plugins if quirks else (),
            spread=self.spread,
            undo=self._undo,
            accepts_changed=self.options.accept_changed_files,
            tell=self.report.warn,
        )

    def _apply(self, engine: str) -> Applied:
        """Return what a program of ENGINE is launched with, on whichever of its nodes."""
        folder = own_folder(self.store.layout.root, SHARED) if os.access(SHARED, os.W_OK) else None
        return apply(engine, os.environ, several_nodes=self.spread is not None, folder=folder)

    @property
    def _undo(self) -> Path | None:
        """Where it is noted what the program does to files; other nodes would see too late that a new part began."""
        return None if self.spread else self.store.layout.undo

    def _resumed(self, manifest: Manifest) -> None:
        self.quirks = tuple(manifest.quirks)
        self.store.record(
            "resumed",
            generation=manifest.generation,
            lineage=manifest.lineage,
            **self._facts(),
        )
        self.report.say(
            f"job {self.store.layout.name}: resumed generation {manifest.generation} of "
            f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC with {self.chosen.engine_text}",
            event="resumed",
            job=self.store.layout.name,
            generation=manifest.generation,
        )
        for text in streams.notes_on_resume(manifest, self.options):
            self.report.warn(text)

    @property
    def chosen(self) -> Choice:
        """The engine of the computation that runs, or ran last."""
        if self.choice is None:
            self.choice = choice_for(self.program, self.options, self.spread)
        return self.choice

    def _tell_choice(self) -> None:
        choice = self.chosen
        self.report.say(f"engine {choice.engine.name}: {choice.reason}", level=VERBOSE, event="engine")

    def _facts(self) -> dict[str, object]:
        record = self.store.lock.record
        return {
            "host": record.host,
            "pid": record.pid,
            "scheduler_job": record.scheduler_job,
            "engine": self.chosen.engine_text,
        }
