"""Start the program: launch it, or restart it from the newest generation that verifies and comes up."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt import fit
from dmtcp_py.attempt.host import this_host
from dmtcp_py.attempt.policy import STOP_SIGNALS
from dmtcp_py.attempt.stdio import note_on_reader, notes_on_resume
from dmtcp_py.engine.choice import Choice, engine_named
from dmtcp_py.engine.protocol import Launch, Restart
from dmtcp_py.engine.quirks import Applied, apply
from dmtcp_py.errors import DmtcpRunError, RestartFailedError, StoreError
from dmtcp_py.messages import VERBOSE
from dmtcp_py.rollback import changed_files, undo
from dmtcp_py.store.verify import verify
from dmtcp_py.system.environment import given_environ
from dmtcp_py.system.files import make_temporary, own_folder, remove_temporaries
from dmtcp_py.system.proc import SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from dmtcp_py.attempt.feed import Feed
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.engine.protocol import Computation
    from dmtcp_py.messages import Report
    from dmtcp_py.state.record import Compared
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.system.events import EventStream

_ANYWAY = "--accept-changed-state resumes all the same"
SHARED = Path(SHARED_MEMORY)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A computation, the engine that runs it, and how it was started."""

    choice: Choice
    computation: Computation
    quirks: tuple[str, ...]
    """The settings that the program was launched with, each with its reason."""
    parent: Manifest | None
    """The generation that was resumed; None after a launch."""


@dataclass(frozen=True)
class Starter:
    """Starts the computations of one attempt, one after another."""

    plan: Plan
    report: Report
    feed: Feed | None = None
    """What gives the program its standard input, where that is a pipe."""

    def make_room(self) -> None:
        """Give the engine an empty folder for its images: in the job's folder, or on a disk of this node."""
        store, parent = self.plan.store, self.plan.options.stage_local
        if parent is None:
            store.clean()
            return
        remove_temporaries(store.layout.root, parent)
        try:
            folder = make_temporary(store.layout.root, parent)
        except OSError as error:
            # the next node may not have it: that is no reason to end a job
            self.report.warn(f"--stage-local {parent}: {error.strerror}; images are written to the job's folder")
            store.clean()
            return
        store.clean(folder.absolute())

    def launch(self) -> Running:
        """Start the program from its beginning."""
        plan, store, choice = self.plan, self.plan.store, self.plan.choice
        if choice is None:
            raise DmtcpRunError("there is neither an engine to launch the program with nor a generation to resume")
        quirks = self._quirks(choice.engine.name)
        launch = Launch(
            command=plan.options.command,
            program=plan.program,
            stdio=plan.stdio,
            environ=quirks.environ,
            plugins=quirks.plugins,
            folders=quirks.folders,
            undo=self._undo,
            staging=store.make_staging(),
            temporary=make_temporary(store.layout.root),
            nodes=plan.nodes,
            network=plan.options.network,
            say=self._say_more,
        )
        if self._undo is not None:
            undo.start(
                self._undo,
                lineage=plan.start.job.lineage,
                is_once_more=not plan.start.begins_lineage,
                warn=self.report.warn,
            )
        self._say_choice(choice)
        for note in quirks.notes:
            self.report.say(f"set {note}", level=VERBOSE, event="quirk")
        with self._standard_input(None):
            computation = choice.engine.launch(launch)
        store.record("started", lineage=plan.start.job.lineage, why=plan.start.why, **self._facts(choice))
        self.report.say(
            f"job {store.layout.name}: started with {choice.engine_text} ({plan.start.why})",
            event="started",
            job=store.layout.name,
        )
        return Running(choice=choice, computation=computation, quirks=quirks.notes, parent=None)

    def resume(self, candidates: tuple[int, ...], stream: EventStream) -> Running | None:
        """Resume the first of CANDIDATES that verifies and comes up; return None if a signal on STREAM ended that."""
        store, reasons = self.plan.store, []
        for number in candidates:
            try:
                return self._resume(number, stream)
            except (StoreError, RestartFailedError) as error:
                if stream.has_any(STOP_SIGNALS):
                    return None
                reasons.append(f"generation {number}: {error.what}")
                store.record("failed", what="restart", generation=number, error=error.what)
                if number != candidates[-1]:
                    self.report.warn(f"generation {number} cannot be used: {error.what}; trying the one before")
        raise DmtcpRunError(
            f"none of the generations of job {store.layout.name} came up ({'; '.join(reasons)})",
            "nothing was started and nothing deleted; --fresh starts over",
        )

    def _resume(self, number: int, stream: EventStream) -> Running | None:
        manifest = verify(self.plan.store.layout, number)
        engine = engine_named(manifest.engine, self.plan.options.engine_plugin)
        choice = Choice(engine, f"it made generation {number}")
        self._say_choice(choice)
        self._compare_machines(manifest)
        if not self.plan.options.accept_changed_files:
            changed_files.refuse(manifest)
        with self._standard_input(manifest):
            compared: list[Compared] = []
            computation = engine.restart(self._restart(manifest, stream, compared.append))
        if computation is None:
            return None
        self._say_resumed(manifest, choice, compared)
        return Running(choice=choice, computation=computation, quirks=tuple(manifest.quirks), parent=manifest)

    def _compare_machines(self, manifest: Manifest) -> None:
        """Warn of what makes a resume on this machine risky, and refuse what would crash the program."""
        for one in fit.compare(manifest, this_host()):
            if one.level is fit.Level.PROBLEM and not self.plan.options.accept_changed_state:
                raise RestartFailedError(f"the {one.about} of this machine {one.text}; {_ANYWAY}")
            if one.level is not fit.Level.OK:
                self.report.warn(f"the {one.about} of this machine {one.text}")

    def _restart(self, manifest: Manifest, stream: EventStream, compared: Callable[[Compared], None]) -> Restart:
        plan, store = self.plan, self.plan.store
        # on one node nothing more is launched
        quirks = self._quirks(manifest.engine) if plan.nodes else None
        return Restart(
            folder=store.layout.generation(manifest.generation),
            manifest=manifest,
            stdio=plan.stdio,
            environ=quirks.environ if quirks else given_environ(),
            staging=store.make_staging(),
            temporary=make_temporary(store.layout.root),
            is_cancelled=lambda: stream.has_any(STOP_SIGNALS),
            plugins=quirks.plugins if quirks else (),
            nodes=plan.nodes,
            undo=self._undo,
            accepts_changed=plan.options.accept_changed_files,
            accepts_changed_state=plan.options.accept_changed_state,
            warn=self.report.warn,
            say=self._say_more,
            compared=compared,
        )

    def _standard_input(self, start: Manifest | None) -> AbstractContextManager[None]:
        return nullcontext() if self.feed is None else self.feed.of_program(start)

    def _quirks(self, engine: str) -> Applied:
        """Return what a program of ENGINE is launched with, on whichever of its nodes."""
        root = self.plan.store.layout.root
        folder = own_folder(root, SHARED) if os.access(SHARED, os.W_OK) else None
        return apply(engine, given_environ(), several_nodes=self.plan.nodes is not None, folder=folder)

    @property
    def _undo(self) -> Path | None:
        """The folder of the journal; None on several nodes, which would see too late that a new part began."""
        return None if self.plan.nodes else self.plan.store.layout.undo

    def _say_resumed(self, manifest: Manifest, choice: Choice, compared: Sequence[Compared]) -> None:
        store = self.plan.store
        facts = {**self._facts(choice), "compared": asdict(compared[0]) if compared else None}
        store.record("resumed", generation=manifest.generation, lineage=manifest.lineage, **facts)
        self.report.say(
            f"job {store.layout.name}: resumed generation {manifest.generation} of "
            f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC with {choice.engine_text}",
            event="resumed",
            job=store.layout.name,
            generation=manifest.generation,
        )
        is_fed = self.feed is not None
        for text in [*notes_on_resume(manifest, self.plan.stdio, is_fed=is_fed), *changed_files.notes(manifest)]:
            self.report.warn(text)
        if (note := note_on_reader(manifest, self.plan.stdio)) is not None:
            self.report.say(note)

    def _say_choice(self, choice: Choice) -> None:
        self._say_more(f"engine {choice.engine.name}: {choice.reason}")

    def _say_more(self, text: str) -> None:
        self.report.say(text, level=VERBOSE, event="engine")

    def _facts(self, choice: Choice) -> dict[str, object]:
        record = self.plan.store.lock.record
        return {
            "host": record.host,
            "pid": record.pid,
            "scheduler_job": record.scheduler_job,
            "engine": choice.engine_text,
        }
