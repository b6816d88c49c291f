"""Random content of what dmtcp-py reads: records, lock, history, requests, lists, configuration, answers of schedulers.

Each is refused with an error that a user can act on, or is read or passed over: never a traceback, a hang, or a touched
file outside the job. A seed stands for one content of each kind.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from typing import TYPE_CHECKING, Any

from dmtcp_py.batch import slurm
from dmtcp_py.cli import config
from dmtcp_py.cli.run import command as dmtcp_run
from dmtcp_py.engine.dmtcp import coordinator
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.rollback import journal
from dmtcp_py.store import inside, mirrored, requests
from dmtcp_py.store.history import read_history
from dmtcp_py.store.layout import JobLayout, job_layout
from dmtcp_py.store.lock import acquire, holding
from dmtcp_py.store.mirrored import index_name, mirror_states
from dmtcp_py.store.records import BatchRun, Job, LockRecord, Request, State, encode, read_record, utc_now
from dmtcp_py.store.store import open_store, read_state
from dmtcp_py.store.verify import read_manifest
from dmtcp_py.system.units import parse_duration, parse_size
from faults.calls import StoreLab
from faults.figures import End, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_MOST_S = 5.0
_OF_USERS = ("a duration", "a size")
_VALUES = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1e308,
    "",
    "\0",
    "../../outside",
    "x" * 5000,
    [],
    {},
    [[]],
    "\ud800",
]
_ODD = [b"", b"\0" * 4096, b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"1" * 5000, b"\n" * 10_000]
_SCONTROL = (
    b"JobId=17 ArrayJobId=16 ArrayTaskId=3 JobName=a job UserId=user(1000) JobState=RUNNING Reason=None Requeue=1 "
    b"Restarts=2 TimeLimit=1-00:00:00 EndTime=2030-01-01T00:00:00 Command=/home/user/job.sh 3 WorkDir=/home/user\n"
)
_SQUEUE = b"17|16|3|RUNNING|1796000000|1795000000|1|2|1-00:00:00|None|1794000000|\n"
_COORDINATOR = (
    b"[2026-01-01T00:00:00.000, 40000, 40000, Note] at dmtcp_coordinator.cpp:1000 in onConnect; worker connected\n"
    b"  hello_remote.from = 4f1c-40001-65a\n  client->progname() = python3\n"
)


class _Fuzz:
    """A job with a generation, of which one file after another gets random content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lab = StoreLab(folder)
        store = lab.make(2)
        now = utc_now()
        store.record("started", lineage=1)
        store.write_state(State(lineage=1, epoch=1, phase="running", started=now, updated=now), durable=False)
        store.lock.release()
        self.layout = lab.layout
        self.jobs = job_layout(folder / "others", "job")
        self.request = encode(Request(action="checkpoint", asked_by="pid 1", asked=now))
        self.lock = encode(LockRecord(epoch=3, host="node17", pid=17, boot_id="another", scheduler_job="17"))
        self.part = folder / "undo" / "000001"
        self.part.mkdir(parents=True)

    def try_all(self, chosen: random.Random) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield what is tried, each with its name."""
        for name, content, path, read in self._files():
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_bytes() if path.exists() else None
            path.write_bytes(damaged(content, chosen))
            yield name, read
            path.unlink(missing_ok=True)
            # epochs that were claimed there count, too
            shutil.rmtree(self.jobs.root, ignore_errors=True)
            if before is not None:
                path.write_bytes(before)
        text = damaged(chosen.choice([b"1-12:30:00", b"15m", b"5GB", b"auto"]), chosen).decode(
            "utf-8", "surrogateescape"
        )
        yield "a duration", lambda: parse_duration(text)
        yield "a size", lambda: parse_size(text)
        answer, queued = _text(_SCONTROL, chosen), _text(_SQUEUE, chosen)
        yield "an answer of scontrol", lambda: slurm._options(slurm._job_fields(answer))
        rows = [line for line in queued.splitlines() if line.count("|") >= _SQUEUE.count(b"|")]
        yield "an answer of squeue", lambda: [slurm._job(line) for line in rows]
        log = _text(_COORDINATOR, chosen)
        yield "a coordinator's log", lambda: _read_log(log)
        argv = [
            damaged(b"python3 -c pass", chosen).decode("utf-8", "surrogateescape").replace("\0", ""),
            "\n'\"",
            "x" * 4000,
        ]
        yield "a program's name", lambda: dmtcp_run.make_context("dmtcp-run", ["--", *argv])

    def _files(self) -> list[tuple[str, bytes, Path, Callable[[], object]]]:
        layout, jobs = self.layout, self.jobs
        place = self.folder / "mirror"
        index = place / index_name("job")
        manifest = layout.generation(2) / "manifest.json"
        history = layout.history.read_bytes()
        job = encode(Job(lineage=1, command=["a", "b"], cwd="/", first_generation=1, created=utc_now()))
        environ = {"DMTCP_RUN_CONFIG": str(self.folder / "config.toml"), "HOME": "/nonexistent"}
        return [
            ("job.json", job, layout.job, lambda: read_record(layout.job, Job)),
            ("state.json", layout.state.read_bytes(), layout.state, lambda: read_state(layout)),
            ("a manifest", manifest.read_bytes(), manifest, lambda: read_manifest(layout, 2)),
            ("the lock, looked at", self.lock, jobs.lock, lambda: holding(jobs)),
            ("the lock, with its holder gone", self.lock, jobs.lock, lambda: _acquired(jobs)),
            ("the history", history, layout.history, lambda: read_history(layout)),
            ("the history, by the next attempt", history, jobs.history, lambda: _opened(jobs)),
            ("a request", self.request, layout.requests / f"1{inside.ASK}", lambda: requests.collect(layout)),
            ("the list of changes", b"\0" + b"00020\t0\t0\tC\t0\t0\t100644\t0\t0\t-\t/x\0", self.part / "list",
             lambda: journal.read_entries(self.part)),
            ("a configuration", b'interval = "15m"\nkeep = 3\n[a]\nb = [1, 2]\n', self.folder / "config.toml",
             lambda: config.settings(dmtcp_run, environ)),
            ("the index of a mirror", b'{"format": 1, "job": "job", "epoch": 1, "files": []}', index,
             lambda: mirrored.decode(index.read_bytes(), mirrored.Index, "it")),
            ("the state of a mirror", b'{"format": 1, "url": "file:/x", "epoch": 1}', layout.mirrors / "1.json",
             lambda: mirror_states(layout)),
        ]  # fmt: skip


def _read_log(text: str) -> object:
    state = coordinator.LogState()
    for line in text.splitlines():
        state = coordinator._after(line, state, 0.0)
    return state


def _acquired(layout: JobLayout) -> object:
    """Hold the job, unless it is said to run elsewhere, which is waited for."""
    if (found := holding(layout)) is not None and not found.record.released and not found.is_here:
        return found
    held, _ = acquire(layout, least_epoch=0, batch=BatchRun(), say=str)
    held.release()
    return held


def _opened(layout: JobLayout) -> object:
    store = open_store(layout, batch=BatchRun(), say=str, warn=str)
    store.clean()
    store.lost(1)
    store.lock.release()
    return store


def _text(content: bytes, chosen: random.Random) -> str:
    """Return what a person typed or a tool printed instead of CONTENT."""
    return damaged(content, chosen).decode("utf-8", "surrogateescape")


def damaged(content: bytes, chosen: random.Random) -> bytes:
    """Return CONTENT with some damage, another value in its JSON, or something else altogether."""
    how = chosen.random()
    if how < 0.4:
        try:
            return _with_other_value(json.loads(content), chosen)
        except ValueError:
            pass
    if how < 0.5:
        return chosen.randbytes(chosen.randrange(300))
    if how < 0.55:
        return chosen.choice(
            [b"", b"\0" * 4096, b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"1" * 5000, b"\n" * 10_000]
        )
    data = bytearray(content)
    for _ in range(chosen.randint(1, 4)):
        at = chosen.randrange(len(data) + 1)
        data[at : at + chosen.choice([0, 1, 1, 8])] = chosen.choice(
            [b"", b"\0", b"\n", b"-", b"9" * 30, chosen.randbytes(3)]
        )
    return bytes(data)


def _with_other_value(value: Any, chosen: random.Random) -> bytes:
    """Return VALUE, an object, as JSON with one other value somewhere in it."""
    inner = value
    while isinstance(inner, dict) and inner:
        key = chosen.choice(sorted(inner))
        if not isinstance(inner[key], dict) or not inner[key] or chosen.random() < 0.3:
            inner[key] = chosen.choice(_VALUES)
            break
        inner = inner[key]
    return json.dumps(value).encode()


def campaign(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    """Try each kind of content once for each of SEEDS."""
    fuzz = _Fuzz(folder)
    outside = folder / "outside"
    outside.write_text("unchanged")
    for seed in seeds:
        for name, read in fuzz.try_all(random.Random(seed)):
            began = time.monotonic()
            end, problem = _end_of(name, read)
            if time.monotonic() - began > _MOST_S:
                end, problem = End.WRONG, f"it took {time.monotonic() - began:.1f} s"
            if outside.read_text() != "unchanged":
                end, problem = End.WRONG, "a file outside the job was changed"
            yield Trial(name, end, f"seed {seed}: {problem}")
    shutil.rmtree(folder / "others", ignore_errors=True)


def _end_of(name: str, read: Callable[[], object]) -> tuple[End, str]:
    import click  # noqa: PLC0415 - only for its errors

    try:
        read()
    except (DmtcpRunError, click.ClickException, FileNotFoundError):
        return End.DETECTED, ""
    except ValueError as error:
        # what a user typed: click says so
        return (End.DETECTED, "") if name in _OF_USERS else (End.WRONG, repr(error)[:300])
    except BaseException as error:
        return End.WRONG, repr(error)[:300]
    return End.SURVIVED, ""
