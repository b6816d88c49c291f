"""The plan of one attempt: everything that is decided before the program starts, found out once and handed down."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.attempt.fetched import bring
from dmtcp_py.attempt.identity import identify, stdio_of
from dmtcp_py.attempt.moved import find_job
from dmtcp_py.attempt.named_files import named_files, refuse_to_empty
from dmtcp_py.attempt.other_jobs import note_on_unfinished
from dmtcp_py.attempt.start_point import find_start_point
from dmtcp_py.attempt.takeover import open_for
from dmtcp_py.batch import allocation as batch
from dmtcp_py.batch import chain, htcondor
from dmtcp_py.batch.installed import scheduler_of
from dmtcp_py.batch.scheduler import job_of
from dmtcp_py.engine.choice import Choice, Needs, check_asked, choose, choose_another
from dmtcp_py.engine.executable import find_program, is_mpi_launcher
from dmtcp_py.engine.protocol import NodeList
from dmtcp_py.engine.unprotected import Unprotected
from dmtcp_py.errors import (
    BatchError,
    DmtcpRunError,
    EngineError,
    UnusableProgramError,
    UsageError,
)
from dmtcp_py.options import OWN_NETWORK
from dmtcp_py.store.access import refuse_directory
from dmtcp_py.store.packed import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.attempt.identity import Identity
    from dmtcp_py.attempt.start_point import StartPoint
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import BatchJob, Scheduler
    from dmtcp_py.engine.protocol import Stdio
    from dmtcp_py.messages import Report
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.store import Store

_SEVERAL = 2


class Plan(Struct, frozen=True, kw_only=True):
    """What one attempt is going to do, with the job held in STORE."""

    options: RunOptions
    program: Path
    identity: Identity
    stdio: Stdio
    allocation: Allocation
    scheduler: Scheduler | None
    batch_job: BatchJob | None
    """What the scheduler said about the batch job; None if it did not answer."""
    checkpointed_status: int
    nodes: NodeList | None
    """The nodes that the program uses; None if it uses this one alone."""
    store: Store
    start: StartPoint
    choice: Choice | None
    """The engine to launch the program with; None if a generation is resumed, by whichever engine made it."""

    def to_resume(self) -> Plan:
        """Return the plan to resume the newest generation, after the program was checkpointed and stopped."""
        mine = self.store.layout.generations_from(self.start.job.first_generation)
        return replace(self, choice=None, start=replace(self.start, candidates=mine, begins_lineage=False))

    def from_where_it_began(self, parent: Manifest | None) -> Plan:
        """Return the plan to start anew from PARENT, with which this attempt began, or from the beginning."""
        mine = self.store.layout.generations_from(self.start.job.first_generation)
        known = () if parent is None else tuple(number for number in mine if number <= parent.generation)
        return replace(self, start=replace(self.start, candidates=known, begins_lineage=False))

    def with_another_engine(self, why: str, *, or_none: bool = False) -> Plan | None:
        """Return the plan to launch the program once more, with another engine; None where there is none for it.

        WHY says, after the name of the first engine, what is the matter with that. With
        OR_NONE and --allow-unprotected that may be without an engine.
        """
        options = self.options
        if self.choice is None or self.nodes is not None or options.engine_plugin is not None:
            return None
        another = choose_another(self.program, options.engine, _needs(options, None), than=self.choice, why=why)
        if another is None and or_none and options.allow_unprotected:
            another = Choice(Unprotected(), f"--allow-unprotected: {self.choice.engine.name} {why}")
        if another is None:
            return None
        start = replace(self.start, begins_lineage=False, why=f"{self.choice.engine.name} {why}")
        return replace(self, choice=another, start=start)


@contextmanager
def make_plan(options: RunOptions, report: Report) -> Iterator[Plan]:
    """Yield the plan of an attempt with these OPTIONS, and hold the job until the end.

    Raises DmtcpRunError if the attempt cannot be made; then nothing on disk has changed but the history.
    """
    cwd = _working_directory()
    check_asked(options.engine, options.engine_plugin)
    refuse_directory(cwd / options.directory)
    program, missing = _program(options.command, cwd)
    allocation, scheduler, batch_job = _allocation(options, cwd)
    _look_at_transfers(cwd / options.directory, options, report)
    identity = identify(options, cwd, allocation.array_task)
    layout = find_job(cwd / options.directory, options, identity)
    if missing is not None and not layout.generation_numbers() and not options.mirrors:
        raise missing
    nodes = _nodes(options, program, scheduler, layout)
    # where there may be something to resume, whichever engine made it is used
    choice = None if layout.generation_numbers() or options.mirrors else _choice(program, options, nodes)
    store = open_for(layout, allocation, scheduler, report)
    try:
        unpack(layout)
        bring(store, options, report)
        start = find_start_point(store, identity, options, allocation)
        if missing is not None and not start.candidates and start.finished is None:
            raise missing
        if start.begins_lineage:
            files = named_files(program, options.command, cwd)
            refuse_to_empty(files, stdio_of(identity, layout))
            if start.is_new and (note := note_on_unfinished(layout, identity)) is not None:
                report.warn(note)
            start = replace(start, job=replace(start.job, named_files=files))
        if choice is None and not start.candidates and start.finished is None:
            choice = _choice(program, options, nodes)
        yield Plan(
            options=options,
            program=program,
            identity=identity,
            stdio=stdio_of(identity, layout),
            allocation=allocation,
            scheduler=scheduler,
            batch_job=batch_job,
            checkpointed_status=_checkpointed_status(options, allocation),
            nodes=nodes,
            store=store,
            start=start,
            choice=None if start.candidates else choice,
        )
    finally:
        if htcondor.sandbox(os.environ) is not None:
            pack(layout)
        store.lock.release()


def _program(command: Sequence[str], cwd: Path) -> tuple[Path, DmtcpRunError | None]:
    """Return the path of COMMAND's program, and the error if it cannot be run: its job may be resumed all the same."""
    try:
        return find_program(command[0], cwd, os.environ.get("PATH"), command[1:]), None
    except UnusableProgramError as error:
        return cwd / command[0], error


def _look_at_transfers(directory: Path, options: RunOptions, report: Report) -> None:
    """Make sure that HTCondor, if it moves files of the program, moves the jobs in DIRECTORY too. Raises UsageError."""
    if options.mirrors:
        return
    htcondor.refuse_to_lose(os.environ, directory)
    if htcondor.loses_work(os.environ, directory):
        report.warn(
            "HTCondor transfers nothing before the job ends: evicted, it starts over; set when_to_transfer_output = "
            f"ON_EXIT_OR_EVICT, and name {options.directory} and the program's files in transfer_output_files"
        )


def _allocation(options: RunOptions, cwd: Path) -> tuple[Allocation, Scheduler | None, BatchJob | None]:
    """Return the batch job around us, its scheduler if it can be asked, and what that says about the job."""
    allocation, batch_job = htcondor.allocation_around(os.environ), None
    scheduler = scheduler_of(allocation)
    if scheduler is not None:
        with suppress(BatchError):
            batch_job = job_of(scheduler, allocation.job_id or "")
        allocation = chain.confirm(allocation, batch_job, cwd / options.directory)
    if not options.array_chain:
        return allocation, scheduler, batch_job
    if allocation.array_task is None:
        raise UsageError("--array-chain is for the tasks of a job array, and this is none", "leave it out")
    return batch.chain_array(allocation), scheduler, batch_job


def _checkpointed_status(options: RunOptions, allocation: Allocation) -> int:
    asked = options.checkpointed_status
    return allocation.checkpointed_status if asked is None else asked


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise DmtcpRunError("the working directory is gone", "cd to one that exists") from None


def _nodes(options: RunOptions, program: Path, scheduler: Scheduler | None, layout: JobLayout) -> NodeList | None:
    """Return the nodes that the program is to use; None if it is this one alone."""
    is_open = options.nodes is None and options.network != OWN_NETWORK
    is_wanted = options.nodes == "auto" or (is_open and is_mpi_launcher(program))
    names = scheduler.nodes() if scheduler is not None and is_wanted else ()
    if scheduler is None or len(names) < _SEVERAL:
        return None
    if options.stage_local is not None:
        raise UsageError("--stage-local is for one node", f"leave it out, or --nodes 1: there are {len(names)} nodes")
    return NodeList(names=tuple(names), command_on=scheduler.on_node, spool=layout.spool.absolute(), owner=layout.root)


def _choice(program: Path, options: RunOptions, nodes: NodeList | None) -> Choice:
    """Return the engine for PROGRAM; with --allow-unprotected that may be none."""
    try:
        return choose(program, options.engine, _needs(options, nodes), plugin=options.engine_plugin)
    except EngineError as error:
        if not options.allow_unprotected:
            raise
        return Choice(Unprotected(), f"--allow-unprotected: {error.what}")


def _needs(options: RunOptions, nodes: NodeList | None) -> Needs:
    return Needs(several_nodes=nodes is not None, own_network=options.network == OWN_NETWORK)
