"""One attempt: launch or restart, go on from the last good generation where an engine fails, outcome.

Knows neither engines nor schedulers by name; what to do while the program runs is `dmtcp_py.attempt`'s business.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py import batch, follow, streams
from dmtcp_py.attempt import SIGNALS, Surroundings, Watch
from dmtcp_py.batch.choice import scheduler_of
from dmtcp_py.census import SHARED_MEMORY
from dmtcp_py.checkpointing import Engaged
from dmtcp_py.engine import Launch, Restart, Spread, undo
from dmtcp_py.engine.choice import Choice, choose, engine_named
from dmtcp_py.engine.executable import find_program, is_mpi_launcher
from dmtcp_py.engine.quirks import apply
from dmtcp_py.engine.unprotected import Unprotected
from dmtcp_py.errors import DmtcpRunError, EngineError, RestartFailedError, StoreError, UsageError
from dmtcp_py.events import EventStream
from dmtcp_py.files import make_temporary, own_folder, remove_temporaries
from dmtcp_py.handover import open_for
from dmtcp_py.job import identify, keep_stdin, plan_start, stdio_of
from dmtcp_py.outcome import Kind, Outcome
from dmtcp_py.policy import STOP_SIGNALS
from dmtcp_py.process import become_subreaper, end_leftovers
from dmtcp_py.report import VERBOSE
from dmtcp_py.store import requests
from dmtcp_py.store.layout import job_layout
from dmtcp_py.store.records import State, utc_now
from dmtcp_py.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.batch import Allocation
    from dmtcp_py.engine import Computation
    from dmtcp_py.job import Identity, Start
    from dmtcp_py.outcome import RunOptions
    from dmtcp_py.report import Report
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.store import Store

_SEVERAL = 2
_SHARED = Path(SHARED_MEMORY)
MOST_RECOVERIES = 3
"""So often in a row, without a new generation, an attempt goes on after an engine failed."""


def run(options: RunOptions, report: Report) -> Outcome:
    """Run one attempt of the job that OPTIONS mean, from launch or restart to its end, and return how it ended.

    Takes over the process's signals, its children and, for the program, its standard streams. Raises DmtcpRunError
    where nothing could be started; then nothing on disk has changed but the history.
    """
    try:
        cwd = Path.cwd()
    except FileNotFoundError:
        raise DmtcpRunError("the working directory is gone", "cd to one that exists") from None
    program = find_program(options.command[0], cwd, os.environ.get("PATH"))
    allocation = batch.detect(os.environ)
    allocation = follow.confirmed(allocation, scheduler_of(allocation), cwd / options.directory)
    identity = identify(options, cwd, allocation.array_task)
    layout = job_layout(cwd / options.directory, _job_name(options, identity))
    # where there may be something to resume, whatever made it serves
    spread = _spread(options, program, allocation, layout)
    choice = None if layout.generation_numbers() else _choice(program, options, spread)
    store = open_for(layout, allocation, report)
    try:
        start = plan_start(store, identity, options, allocation)
        if start.finished is not None:
            text = f"finished with status {start.finished} in an earlier run of this batch job; --fresh runs it anew"
            report.say(text, event="finished", status=start.finished, job=layout.name)
            return Outcome(Kind.FINISHED, start.finished, layout.name, detail="earlier")
        if choice is None and not start.candidates:
            choice = _choice(program, options, spread)
        return _Attempt(store, choice, identity, options, program, report, start, allocation, spread).run()
    finally:
        store.lock.release()


def _spread(options: RunOptions, program: Path, allocation: Allocation, layout: JobLayout) -> Spread | None:
    """Return the nodes that the program is to have; None where it has this one alone."""
    scheduler = scheduler_of(allocation)
    is_wanted = options.nodes == "auto" or (options.nodes is None and is_mpi_launcher(program))
    names = scheduler.nodes() if scheduler is not None and is_wanted else ()
    if scheduler is None or len(names) < _SEVERAL:
        return None
    if options.stage_local is not None:
        raise UsageError("--stage-local is for one node", f"leave it out, or --nodes 1: there are {len(names)} nodes")
    return Spread(tuple(names), scheduler.on_node, layout.spool.absolute())


def _choice(program: Path, options: RunOptions, spread: Spread | None) -> Choice:
    try:
        return choose(program, options.engine, several_nodes=spread is not None)
    except EngineError as error:
        if not options.allow_unprotected:
            raise
        return Choice(Unprotected(), f"--allow-unprotected: {error.what}")


@contextmanager
def _no_temporaries_left(owner: Path, stage_local: Path | None) -> Iterator[None]:
    """Remove at the end what an engine refused before it took it over, and what it wrote to a disk of this node."""
    try:
        yield
    finally:
        remove_temporaries(owner)
        remove_temporaries(owner, _SHARED)
        if stage_local is not None:
            remove_temporaries(owner, stage_local)


def _job_name(options: RunOptions, identity: Identity) -> str:
    if options.job is None:
        return identity.name
    return f"{options.job}-{identity.array_task}" if identity.array_task else options.job


@dataclass
class _Attempt:
    """What an attempt carries from one computation to the next."""

    store: Store
    choice: Choice | None
    """The engine of the computation that runs, or ran last."""
    identity: Identity
    options: RunOptions
    program: Path
    report: Report
    start: Start
    allocation: Allocation
    spread: Spread | None
    quirks: tuple[str, ...] = ()
    """What the program was launched with, so that it works."""

    def run(self) -> Outcome:
        store, job = self.store, self.start.job
        _end_former(store, self.report)
        remove_temporaries(store.layout.root)
        remove_temporaries(store.layout.root, _SHARED)
        become_subreaper()
        self._make_room()
        requests.clear(store.layout)
        if self.start.begins_lineage:
            keep_stdin(self.identity, store.layout)
            store.write_job(job)
        stage_local = self.options.stage_local
        with closing(EventStream(SIGNALS)) as stream, _no_temporaries_left(store.layout.root, stage_local):
            scheduler = scheduler_of(self.allocation)
            around = Surroundings(
                store=store,
                job=job,
                options=self.options,
                stdio=stdio_of(self.identity, store.layout),
                report=self.report,
                stream=stream,
                limit=follow.time_limit(self.options, self.allocation, scheduler, self.report),
                allocation=self.allocation,
                checkpointed_status=self.options.checkpointed_status or self.allocation.checkpointed_status,
                started=utc_now(),
            )
            if not self.start.candidates:
                for text in streams.notes_on_start(around.stdio):
                    self.report.warn(text)
            outcome = self._run_until_it_ends(around)
            self._record_end(around, outcome)
            if scheduler is not None:
                outcome = follow.go_on(around, scheduler, outcome)
            elif self.allocation.job_id is not None and outcome.kind is not Kind.FINISHED:
                name = self.allocation.scheduler
                self.report.warn(f"not requeued: {name} cannot be told from here; submit the same script again")
        return outcome

    def _run_until_it_ends(self, around: Surroundings) -> Outcome:
        candidates = self.start.candidates
        failures = 0
        while True:
            computation, parent = self._resume(around, candidates) if candidates else (self._launch(around), None)
            if computation is None:
                name = self.store.layout.name
                return Outcome(
                    Kind.CHECKPOINTED, around.checkpointed_status, name, candidates[0], "stopped in a restart"
                )
            watch = Watch(around, Engaged(self._chosen, computation, self.quirks), parent)
            try:
                outcome = watch.run()
            finally:
                computation.kill()
                if computation.close():
                    self.report.say("processes that the program had left behind were ended", event="ended")
            failures = 1 if watch.committed else failures + 1
            candidates = self._generations()
            stops = watch.was_asked_to_stop or not candidates or failures > MOST_RECOVERIES
            if outcome.kind is not Kind.ENGINE_FAILED or stops:
                return outcome
            self.report.warn(
                f"{self._chosen.engine.name} lost the program ({outcome.detail}); going on from the last good one"
            )
            self.store.record("failed", what="engine", error=outcome.detail)
            self._make_room()

    def _make_room(self) -> None:
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

    def _generations(self) -> tuple[int, ...]:
        numbers = reversed(self.store.layout.generation_numbers())
        return tuple(number for number in numbers if number >= self.start.job.first_generation)

    def _launch(self, around: Surroundings) -> Computation:
        choice = self._chosen
        folder = own_folder(self.store.layout.root, _SHARED) if os.access(_SHARED, os.W_OK) else None
        quirks = apply(choice.engine.name, os.environ, several_nodes=self.spread is not None, folder=folder)
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

    def _resume(self, around: Surroundings, candidates: tuple[int, ...]) -> tuple[Computation | None, Manifest | None]:
        """Go on from the first of CANDIDATES that verifies and comes up; None where a signal ended the wait."""
        reasons = []
        for number in candidates:
            try:
                manifest = verify(self.store.layout, number)
                self.choice = Choice(engine_named(manifest.engine), f"it made generation {number}")
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
        plugins = apply(manifest.engine, os.environ, several_nodes=True).plugins if self.spread else ()
        return Restart(
            folder=self.store.layout.generation(manifest.generation),
            manifest=manifest,
            stdio=around.stdio,
            environ=os.environ,
            staging=self.store.make_staging(),
            temporary=make_temporary(self.store.layout.root),
            is_cancelled=lambda: around.stream.has_any(STOP_SIGNALS),
            plugins=plugins,
            spread=self.spread,
            undo=self._undo,
            accepts_changed=self.options.accept_changed_files,
            tell=self.report.warn,
        )

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
            f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC with {self._chosen.engine_text}",
            event="resumed",
            job=self.store.layout.name,
            generation=manifest.generation,
        )
        for text in streams.notes_on_resume(manifest, self.options):
            self.report.warn(text)

    @property
    def _chosen(self) -> Choice:
        if self.choice is None:
            self.choice = _choice(self.program, self.options, self.spread)
        return self.choice

    def _tell_choice(self) -> None:
        choice = self._chosen
        self.report.say(f"engine {choice.engine.name}: {choice.reason}", level=VERBOSE, event="engine")

    def _facts(self) -> dict[str, object]:
        record = self.store.lock.record
        return {
            "host": record.host,
            "pid": record.pid,
            "scheduler_job": record.scheduler_job,
            "engine": self._chosen.engine_text,
        }

    def _record_end(self, around: Surroundings, outcome: Outcome) -> None:
        store, job = self.store, self.start.job
        store.write_state(
            State(
                lineage=job.lineage,
                epoch=store.epoch,
                phase=outcome.kind.value,
                status=outcome.status,
                started=around.started,
                updated=utc_now(),
                engine=self._chosen.engine_text,
                resumed_from=outcome.generation,
                origin=self.allocation.origin,
                run=self.allocation.run,
            ),
            durable=True,
        )
        store.record(
            outcome.kind.value.replace(" ", "-"),
            lineage=job.lineage,
            status=outcome.status,
            generation=outcome.generation,
            detail=outcome.detail,
            stopped_for=outcome.stopped_for,
        )
        if outcome.kind is Kind.FINISHED:
            store.prune(keep=1, lineage=job.lineage)
        self.report.say(_last_line(outcome), event=outcome.kind.value, status=outcome.status, job=outcome.job)


def _end_former(store: Store, report: Report) -> None:
    """Make sure that nothing of an attempt that was killed on this machine still writes."""
    if store.before is None or store.before.record.released or not store.before.is_here:
        return
    state = store.state()
    if state is None:
        return
    if end_leftovers(state.processes):
        report.say(f"ended what was left of the attempt before (epoch {store.before.record.epoch})", event="ended")


def _last_line(outcome: Outcome) -> str:
    again = "the same line goes on from " + (
        f"generation {outcome.generation}" if outcome.generation else "the beginning: there is no generation yet"
    )
    return {
        Kind.FINISHED: f"finished with status {outcome.status}",
        Kind.CHECKPOINTED: f"checkpointed and stopped; {again}",
        Kind.SIGNALLED: f"{outcome.detail or f'the program was killed by signal {outcome.status - 128}'}; {again}",
        Kind.STOPPED: f"stopped at once; {again}",
        Kind.REFUSED: f"stopped, as it cannot be checkpointed: {outcome.detail}; or run it with --allow-unprotected",
        Kind.OUT_OF_TIME: f"stopped, as the time is over and the last checkpoint failed ({outcome.detail}); {again}",
        Kind.KILLED_BY_COMMAND: f"somebody's {outcome.detail} killed the program; {again}",
        Kind.ENGINE_FAILED: f"the engine failed: {outcome.detail}; {again}",
    }[outcome.kind]
