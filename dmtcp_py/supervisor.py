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
from dmtcp_py.checkpointing import Engaged
from dmtcp_py.ending import is_crash
from dmtcp_py.engine import Spread
from dmtcp_py.engine.choice import check_asked
from dmtcp_py.engine.executable import find_program, is_mpi_launcher
from dmtcp_py.errors import DmtcpRunError, UsageError
from dmtcp_py.events import EventStream
from dmtcp_py.files import remove_temporaries
from dmtcp_py.handover import open_for
from dmtcp_py.job import identify, keep_stdin, plan_start, stdio_of
from dmtcp_py.outcome import Kind, Outcome
from dmtcp_py.process import become_subreaper, end_leftovers
from dmtcp_py.starting import SHARED, Starter, choice_for
from dmtcp_py.store import requests
from dmtcp_py.store.layout import job_layout
from dmtcp_py.store.records import State, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.batch import Allocation
    from dmtcp_py.job import Identity, Start
    from dmtcp_py.outcome import RunOptions
    from dmtcp_py.report import Report
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.store import Store

_SEVERAL = 2
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
    check_asked(options.engine, options.engine_plugin)
    program = find_program(options.command[0], cwd, os.environ.get("PATH"))
    allocation = batch.detect(os.environ)
    allocation = follow.confirmed(allocation, scheduler_of(allocation), cwd / options.directory)
    if options.array_chain:
        allocation = batch.link(allocation)
    identity = identify(options, cwd, allocation.array_task)
    layout = job_layout(cwd / options.directory, _job_name(options, identity))
    # where there may be something to resume, whatever made it serves
    spread = _spread(options, program, allocation, layout)
    choice = None if layout.generation_numbers() else choice_for(program, options, spread)
    store = open_for(layout, allocation, report)
    try:
        start = plan_start(store, identity, options, allocation)
        if start.finished is not None:
            text = f"finished with status {start.finished} in an earlier run of this batch job; another runs it anew"
            report.say(text, event="finished", status=start.finished, job=layout.name)
            return Outcome(Kind.FINISHED, start.finished, layout.name, detail="earlier")
        if choice is None and not start.candidates:
            choice = choice_for(program, options, spread)
        starter = Starter(store, choice, options, program, report, start, spread)
        return _Attempt(store, identity, options, report, start, allocation, starter).run()
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
    return Spread(tuple(names), scheduler.on_node, layout.spool.absolute(), layout.root)


@contextmanager
def _no_temporaries_left(owner: Path, stage_local: Path | None) -> Iterator[None]:
    """Remove at the end what an engine refused before it took it over, and what it wrote to a disk of this node."""
    try:
        yield
    finally:
        remove_temporaries(owner)
        remove_temporaries(owner, SHARED)
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
    identity: Identity
    options: RunOptions
    report: Report
    start: Start
    allocation: Allocation
    starter: Starter

    def run(self) -> Outcome:
        store, job = self.store, self.start.job
        _end_former(store, self.report)
        remove_temporaries(store.layout.root)
        remove_temporaries(store.layout.root, SHARED)
        become_subreaper()
        self.starter.make_room()
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
        starter, candidates = self.starter, self.start.candidates
        failures = 0
        doubted: int | None = None
        while True:
            computation, parent = starter.resume(around, candidates) if candidates else (starter.launch(around), None)
            if computation is None:
                name = self.store.layout.name
                return Outcome(
                    Kind.CHECKPOINTED, around.checkpointed_status, name, candidates[0], "stopped in a restart"
                )
            watch = Watch(around, Engaged(starter.chosen, computation, starter.quirks), parent)
            try:
                outcome = watch.run()
            finally:
                computation.kill()
                if computation.close():
                    self.report.say("processes that the program had left behind were ended", event="ended")
            failures = 1 if watch.committed else failures + 1
            candidates = self._generations()
            stops = watch.was_asked_to_stop or not candidates or failures > MOST_RECOVERIES
            # what crashes after a restart may have been harmed by it: what comes again is the program's own
            is_doubtful = parent is not None and is_crash(outcome) and outcome.status != doubted
            if stops or not (outcome.kind is Kind.ENGINE_FAILED or is_doubtful):
                return outcome
            doubted = outcome.status if is_doubtful else doubted
            self._tell_lost(outcome)
            starter.make_room()

    def _tell_lost(self, outcome: Outcome) -> None:
        if outcome.kind is Kind.ENGINE_FAILED:
            text, error = f"{self.starter.chosen.engine.name} lost the program ({outcome.detail})", outcome.detail
        else:
            error = f"crashed with status {outcome.status} after a restart"
            text = f"the program {error}, which may have been the restart's doing"
        self.report.warn(f"{text}; going on from the last good one")
        self.store.record("failed", what="engine", error=error)

    def _generations(self) -> tuple[int, ...]:
        numbers = reversed(self.store.layout.generation_numbers())
        return tuple(number for number in numbers if number >= self.start.job.first_generation)

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
                engine=self.starter.chosen.engine_text,
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
