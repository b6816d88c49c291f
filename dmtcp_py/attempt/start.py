"""Start the program: launch it, or restart it from the newest generation that verifies and comes up."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.attempt import fit
from dmtcp_py.attempt.happenings import LimitSeen
from dmtcp_py.attempt.host import this_host
from dmtcp_py.attempt.inside import begin_life, limit_at_start
from dmtcp_py.attempt.interval import Auto, next_s
from dmtcp_py.attempt.mirroring import without_passwords
from dmtcp_py.attempt.named_files import notes_on_changed, notes_on_copies
from dmtcp_py.attempt.policy import STOP_SIGNALS
from dmtcp_py.attempt.start_point import none_came_up
from dmtcp_py.attempt.stdio import (
    losses_on_resume,
    note_on_reader,
    notes_on_start,
    own_files,
    repeats_on_resume,
    sizes_now,
)
from dmtcp_py.attempt.verifying import shown
from dmtcp_py.engine.choice import Choice, engine_named
from dmtcp_py.engine.protocol import Launch, Restart
from dmtcp_py.engine.quirks import Applied, apply
from dmtcp_py.errors import DmtcpRunError, FilesChangedError, RestartDisturbedError, RestartFailedError, StoreError
from dmtcp_py.messages import NORMAL, QUIET, VERBOSE
from dmtcp_py.rollback import changed_files, kept_code, undo
from dmtcp_py.store import inside
from dmtcp_py.store.history import numbers_in_history
from dmtcp_py.store.records import path_text
from dmtcp_py.store.restorable import restorable
from dmtcp_py.store.verify import is_sealed
from dmtcp_py.system.environment import given_environ
from dmtcp_py.system.files import make_temporary, own_folder, remove_temporaries
from dmtcp_py.system.proc import SHARED_MEMORY
from dmtcp_py.system.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from dmtcp_py.attempt.feed import Feed
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.batch.time_limit import TimeLimit
    from dmtcp_py.engine.protocol import Computation
    from dmtcp_py.messages import Report
    from dmtcp_py.state.record import Compared
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.system.events import EventStream

_ANYWAY = "--accept-changed-state resumes all the same"
SHARED = Path(SHARED_MEMORY)


class Running(Struct, frozen=True, kw_only=True):
    """A computation, the engine that runs it, and how it was started."""

    choice: Choice
    computation: Computation
    quirks: tuple[str, ...]
    """The settings that the program was launched with, each with its reason."""
    parent: Manifest | None
    """The generation that was resumed; None after a launch."""


class Starter(Struct, frozen=True):
    """Starts the computations of one attempt, one after another."""

    plan: Plan
    report: Report
    feed: Feed | None = None
    """What gives the program its standard input, where that is a pipe."""
    limit: TimeLimit | None = None

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
        plan, store, choice, began = self.plan, self.plan.store, self.plan.choice, time.monotonic()
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
        self._begin_life(None)
        self._say_choice(choice)
        for note in quirks.notes:
            self.report.say(f"set {note}", level=VERBOSE, event="quirk")
        with self._standard_input(None):
            computation = choice.engine.launch(launch)
        store.record("started", lineage=plan.start.job.lineage, why=plan.start.why, **self._facts(choice, began))
        self.report.say(
            f"job {store.layout.name}: started with {choice.engine_text} ({plan.start.why}){self._first_checkpoint()}",
            event="started",
            job=store.layout.name,
        )
        # once a lineage, as they stay true
        notes = [*notes_on_start(plan.stdio), *plan.options.notes(), *plan.start.notes]
        for note in notes if plan.start.begins_lineage else ():
            self.report.warn(note)
        return Running(choice=choice, computation=computation, quirks=quirks.notes, parent=None)

    def _first_checkpoint(self) -> str:
        """Return when the first checkpoint comes, for the line about the start; nothing without an interval."""
        limit_s = None if self.limit is None or self.limit.end_at is None else self.limit.total_s
        first_s = next_s(self.plan.options.interval_s, None, limit_s, Auto())
        return f"; first checkpoint after {format_duration(first_s)}" if first_s else ""

    def resume(self, candidates: tuple[int, ...], stream: EventStream) -> Running | None:
        """Resume the first of CANDIDATES that verifies and comes up; return None if a signal on STREAM ended that."""
        store, reasons = self.plan.store, {}
        for number in candidates:
            try:
                return self._resume_patiently(number, stream)
            except (StoreError, RestartFailedError) as error:
                if stream.has_any(STOP_SIGNALS):
                    return None
                reasons[number] = error
                store.record("failed", what="restart", generation=number, error=error.what)
                if isinstance(error, FilesChangedError):
                    # going back further would lose what this generation can be resumed from once the file is back
                    break
                if number != candidates[-1]:
                    self.report.warn(f"generation {number} cannot be used: {error.what}; trying the one before")
        raise none_came_up(store.layout.name, reasons, untried=candidates[len(reasons) :])

    def _resume_patiently(self, number: int, stream: EventStream) -> Running | None:
        """Resume generation NUMBER, and once more if that came to no end or was disturbed: the images are verified."""
        try:
            return self._resume_though_sealed(number, stream)
        except RestartDisturbedError as error:
            self.plan.store.record("failed", what="restart", generation=number, error=error.what)
            if stream.has_any(STOP_SIGNALS):
                return None
            self.report.warn(f"generation {number} did not come up: {error.what}; trying it once more")
            return self._resume(number, stream)

    def _resume_though_sealed(self, number: int, stream: EventStream) -> Running | None:
        """Resume generation NUMBER, and once more if an attempt that was overtaken sealed it meanwhile."""
        folder = self.plan.store.layout.generation(number)
        was_sealed = is_sealed(folder)
        try:
            return self._resume(number, stream)
        except (StoreError, RestartFailedError):
            if was_sealed or not is_sealed(folder):
                raise
            return self._resume(number, stream)

    def _resume(self, number: int, stream: EventStream) -> Running | None:
        began = time.monotonic()
        store = self.plan.store
        with ExitStack() as stack:
            with shown(self.report, store.layout, number) as on_read:
                images = restorable(store.layout, number, store.make_staging, on_read)
                manifest, folder = stack.enter_context(images)
            return self._restart_verified(manifest, folder, stream, began)

    def _restart_verified(self, manifest: Manifest, images: Path, stream: EventStream, began: float) -> Running | None:
        """Resume the generation that MANIFEST describes from its verified IMAGES."""
        number = manifest.generation
        engine = engine_named(manifest.engine, self.plan.options.engine_plugin)
        choice = Choice(engine, f"it made generation {number}")
        self._say_choice(choice)
        self._compare_machines(manifest)
        if not self.plan.options.accept_changed_files:
            changed_files.refuse(manifest)
        self._begin_life(manifest)
        sizes = sizes_now()
        with self._standard_input(manifest):
            compared: list[Compared] = []
            computation = engine.restart(self._restart(manifest, images, stream, compared.append))
        if computation is None:
            return None
        is_first = manifest.lineage not in numbers_in_history(self.plan.store.layout, "resumed", "lineage")
        facts = {**self._facts(choice, began), "compared": compared[0]._asdict() if compared else None}
        self.plan.store.record("resumed", generation=number, lineage=manifest.lineage, **facts)
        self._say_resumed(manifest, choice, sizes, is_first=is_first)
        return Running(choice=choice, computation=computation, quirks=tuple(manifest.quirks), parent=manifest)

    def _begin_life(self, manifest: Manifest | None) -> None:
        """Let the program know what begins: a restart of the generation that MANIFEST describes, or a launch."""
        plan, limit = self.plan, LimitSeen(None, None)
        if self.limit is not None:
            limit = limit_at_start(self.limit, plan.options.lead_s, manifest)
        begin_life(plan.store, plan.start.job.lineage, manifest, limit)

    def _compare_machines(self, manifest: Manifest) -> None:
        """Warn of what makes a resume on this machine risky, and refuse what would crash the program."""
        for one in fit.compare(manifest, this_host()):
            if one.level is fit.Level.PROBLEM and not self.plan.options.accept_changed_state:
                raise RestartFailedError(f"the {one.about} of this machine {one.text}; {_ANYWAY}")
            if one.level is not fit.Level.OK:
                self.report.warn(f"the {one.about} of this machine {one.text}")

    def _restart(
        self, manifest: Manifest, images: Path, stream: EventStream, compared: Callable[[Compared], None]
    ) -> Restart:
        plan, store = self.plan, self.plan.store
        code = kept_code.copies(images, store.layout.programs)
        for text in notes_on_copies(plan.start.job.named_files, code):
            self.report.warn(text)
        # on one node nothing more is launched
        quirks = self._quirks(manifest.engine) if plan.nodes else None
        return Restart(
            folder=images,
            manifest=manifest,
            stdio=plan.stdio,
            environ=quirks.environ if quirks else self._environ,
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
            code=code,
            compared=compared,
        )

    def _standard_input(self, start: Manifest | None) -> AbstractContextManager[None]:
        return nullcontext() if self.feed is None else self.feed.of_program(start)

    def _quirks(self, engine: str) -> Applied:
        """Return what a program of ENGINE is launched with, on whichever of its nodes."""
        root = self.plan.store.layout.root
        folder = own_folder(root, SHARED) if os.access(SHARED, os.W_OK) else None
        return apply(engine, self._environ, several_nodes=self.plan.nodes is not None, folder=folder)

    @property
    def _environ(self) -> dict[str, str]:
        plan = self.plan
        return {**given_environ(), **inside.variables(plan.store.layout, plan.allocation.job_id)}

    @property
    def _undo(self) -> Path | None:
        """The folder of the journal; None on several nodes, which would see too late that a new part began."""
        return None if self.plan.nodes else self.plan.store.layout.undo

    def _say_resumed(self, manifest: Manifest, choice: Choice, sizes: Sequence[int], *, is_first: bool) -> None:
        store, stdio = self.plan.store, self.plan.stdio
        self.report.say(
            f"job {store.layout.name}: resumed generation {manifest.generation} of "
            f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC with {choice.engine_text}",
            event="resumed",
            job=store.layout.name,
            generation=manifest.generation,
        )
        is_fed = self.feed is not None
        edited = notes_on_changed(self.plan.start.job.named_files, manifest.changed_files)
        losses = losses_on_resume(manifest, stdio, sizes, is_fed=is_fed)
        for text in [*losses, *changed_files.notes(manifest), *edited]:
            self.report.warn(text)
        # what is so at each resume is read at the first
        for text in repeats_on_resume(manifest, stdio, sizes):
            self.report.say(text, level=QUIET if is_first else VERBOSE, event="warning")
        if (note := note_on_reader(manifest, stdio)) is not None:
            self.report.say(note, level=NORMAL if is_first else VERBOSE)

    def _say_choice(self, choice: Choice) -> None:
        self._say_more(f"engine {choice.engine.name}: {choice.reason}")

    def _say_more(self, text: str) -> None:
        self.report.say(text, level=VERBOSE, event="engine")

    def _facts(self, choice: Choice, began: float) -> dict[str, object]:
        """Return what the history says of a start that began at monotonic second BEGAN."""
        record, job = self.plan.store.lock.record, self.plan.batch_job
        return {
            "took_s": round(time.monotonic() - began, 3),
            "host": record.host,
            "pid": record.pid,
            "scheduler_job": record.scheduler_job,
            "submitted": None
            if job is None or job.submitted is None
            else datetime.fromtimestamp(job.submitted, timezone.utc),
            "engine": choice.engine_text,
            "streams": [path_text(path) for path in own_files()],
            "options": without_passwords(self.plan.options.in_force()),
        }
