"""From what an attempt starts: a generation of the job that is on disk, or the beginning. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.attempt import moved
from dmtcp_py.attempt.identity import STREAM_FIELDS, as_recorded
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.errors import DmtcpRunError, StoreError, UsageError
from dmtcp_py.store.records import Job, path_text, utc_now

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dmtcp_py.attempt.identity import Identity
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import State
    from dmtcp_py.store.store import Store


_FRESH = "--fresh"


class StartPoint(Struct, frozen=True):
    """From what an attempt starts: the generations to try, best first; none means from the beginning."""

    job: Job
    why: str
    candidates: tuple[int, ...] = ()
    begins_lineage: bool = False
    is_new: bool = False
    """Whether nothing of the job was there."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of such a start."""
        if self.why != _FRESH:
            return ()
        return ("--fresh leaves files as they are: what an earlier run appended to files by name is still in them",)

    finished: int | None = None
    """The status with which the program finished in an earlier run of the same batch job: there is nothing to do."""


def find_start_point(store: Store, identity: Identity, options: RunOptions, allocation: Allocation) -> StartPoint:
    """Return where to start in ALLOCATION, judging by what is on disk; nothing is changed.

    Raises StoreError or UsageError if the job on disk is another one, or if it cannot be resumed though something of it
    is there.
    """
    job, state = store.job(), store.state()
    if job is None:
        return _without_record(store, identity, options)
    if state is not None and _is_later_run(job, state, allocation):
        # an earlier run of the batch job did it: doing it again would lose what came of that
        options = replace(options, fresh=False, generation=None)
    finished = state if state is not None and _is_finished(job, state) else None
    if not options.fresh:
        begins = finished is not None and options.generation is None
        _refuse_other(store.layout, job, identity, but=STREAM_FIELDS if begins else ())
    if options.generation is not None:
        return _chosen(store.layout, job, options.generation)
    if options.fresh:
        return StartPoint(job=_new_job(store, identity, job.lineage + 1, options), begins_lineage=True, why=_FRESH)
    if finished is not None:
        earlier = _finished_earlier(job, finished, allocation)
        return earlier or _after_the_end(store, identity, job, finished, options)
    return _unfinished(store, job, options)


def none_came_up(job: str, reasons: Mapping[int, DmtcpRunError], untried: Sequence[int]) -> DmtcpRunError:
    """Return the error about JOB, none of whose generations came up, with the REASONS by generation.

    UNTRIED are the older ones that were left alone.
    """
    nothing = "nothing was started and nothing deleted"
    texts = {error.what for error in reasons.values()}
    if len(texts) == 1:
        hint = next(iter(reasons.values())).hint or "--fresh starts over"
        if untried:
            hint += f"; --generation {untried[0]} resumes an older one and gives this one up"
        numbers = " and ".join(map(str, reasons))
        which = f"generation {numbers}" if len(reasons) == 1 else f"generations {numbers}"
        return DmtcpRunError(f"job {job} cannot be resumed from {which}: {texts.pop()}", f"{hint} ({nothing})")
    each = "; ".join(f"generation {number}: {error.what}" for number, error in reasons.items())
    return DmtcpRunError(f"none of the generations of job {job} came up ({each})", f"{nothing}; --fresh starts over")


def _unfinished(store: Store, job: Job, options: RunOptions) -> StartPoint:
    mine = store.layout.generations_from(job.first_generation)
    if mine:
        return StartPoint(job=job, candidates=mine, why="resume")
    if lost := store.lost(job.first_generation):
        raise StoreError(
            f"the generations of job {store.layout.name} are gone: {lost} were committed",
            f"put them back into {store.layout.generations}, or use --fresh to start over",
        )
    if options.resume_only:
        raise _nothing_to_resume(store.layout)
    return StartPoint(job=job, why="from the beginning, as no checkpoint was complete yet")


def _new_job(store: Store, identity: Identity, lineage: int, options: RunOptions) -> Job:
    return Job(
        lineage=lineage,
        first_generation=store.next_number,
        kept_in=path_text(store.layout.root.resolve()),
        created=utc_now(),
        options=None if options.typed is None else list(map(path_text, options.typed)),
        **as_recorded(identity),
    )


def _without_record(store: Store, identity: Identity, options: RunOptions) -> StartPoint:
    numbers = store.layout.generation_numbers()
    if numbers and not options.fresh:
        raise StoreError(
            f"{store.layout.job} is missing though there are generations {numbers}",
            "use --fresh to start over; the generations stay until the new run has its first",
        )
    if options.resume_only or options.generation is not None:
        raise _nothing_to_resume(store.layout)
    return StartPoint(job=_new_job(store, identity, 1, options), begins_lineage=True, is_new=True, why="new")


def _refuse_other(layout: JobLayout, job: Job, identity: Identity, *, but: Collection[str]) -> None:
    mine = as_recorded(identity)
    was_moved = not but and moved.was_moved(layout, job, identity)
    if was_moved or moved.leads_here(job.cwd, identity):
        mine = moved.recorded_in(job.cwd, identity)
    for field, value in mine.items():
        found = getattr(job, field)
        if found != value and field not in but:
            raise StoreError(
                f"job {layout.name} was started {_in_words(field, found)}, and this line is {_in_words(field, value)}",
                "run the line as it was, with another --job NAME, or with --fresh to start over",
            )
    if was_moved:
        raise moved.refusal(layout, job, identity)


def _in_words(field: str, value: object) -> str:
    """Return how a line has VALUE for FIELD of the job's record, as people type it."""
    if field in ("stdin", "stdout", "stderr"):
        return f"without --{field}" if value is None else f"with --{field} {value}"
    return f"with {field.replace('_', ' ')} {value!r}"


def _chosen(layout: JobLayout, job: Job, number: int) -> StartPoint:
    numbers = layout.generation_numbers()
    if number not in numbers:
        raise StoreError(
            f"job {layout.name} has no generation {number}", f"it has {', '.join(map(str, numbers)) or 'none'}"
        )
    return StartPoint(job=job, candidates=(number,), why="--generation")


def _is_finished(job: Job, state: State) -> bool:
    return state.lineage == job.lineage and state.phase == Kind.FINISHED.value


def _is_later_run(job: Job, state: State, allocation: Allocation) -> bool:
    """Whether an earlier run of the same batch job, or of its chain, has worked on JOB."""
    is_same = allocation.origin is not None and state.origin == allocation.origin
    return is_same and state.run != allocation.run and state.lineage == job.lineage


def _finished_earlier(job: Job, state: State, allocation: Allocation) -> StartPoint | None:
    """Return that there is nothing to do, where the program finished in an earlier run of the same batch job."""
    if allocation.origin is None or state.origin != allocation.origin:
        return None
    if state.run == allocation.run:
        raise UsageError(
            f"this line has finished once already in this run of batch job {allocation.job_id}",
            "after a requeue the two could not be told apart: give each a --job NAME of its own",
        )
    return StartPoint(job=job, why="it has finished", finished=state.status)


def _after_the_end(store: Store, identity: Identity, job: Job, state: State, options: RunOptions) -> StartPoint:
    if options.resume_only:
        raise DmtcpRunError(
            f"job {store.layout.name} has finished with status {state.status}: there is nothing to resume",
            "leave --resume-only out to run it once more",
        )
    new_job = _new_job(store, identity, job.lineage + 1, options)
    return StartPoint(job=new_job, begins_lineage=True, why="the run before has finished")


def _nothing_to_resume(layout: JobLayout) -> DmtcpRunError:
    return DmtcpRunError(
        f"job {layout.name} has no generation to resume", "leave --resume-only and --generation out to start it"
    )
