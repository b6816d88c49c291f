"""A campaign of jobs on a cluster that preempts, cancels and loses nodes at random.

Nothing here knows what the batch scripts do.
"""

from __future__ import annotations

import heapq
import random
import shlex
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from kit.bench import count_words
from kit.cluster import ENDED
from kit.places import PROGRAM_FILES
from kit.tally import STEP_S, End, Job, Result
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.cluster import Cluster

_HARM_EVERY_S = (3.0, 9.0)
_NODE_IS_AWAY_S = 4.0
_SUBMITTED_AGAIN_AFTER_S = 3.0
_LOOK_S = 0.5
_HARMS = {"preempt": 4, "cancel": 2, "crash": 1, "cut off": 1}
"""What happens, and how often against each other.

A job of a higher partition takes CPUs of a node; a job is cancelled and, soon after, submitted again by hand; a node
loses power; a node is lost to the controller, which starts its jobs elsewhere while they live on there for a time.
"""


@dataclass(frozen=True)
class Plan:
    """What a campaign consists of: the same from the same SEED."""

    seed: int
    jobs: int
    minutes: float
    """For so long harm is done."""
    nodes: int = 2

    @property
    def steps(self) -> list[int]:
        """How many steps each job has: 25 to 40 s, and with more minutes more."""
        choose = random.Random(self.seed)
        scale = max(1.0, self.minutes / 2) / STEP_S
        return [int(choose.uniform(25, 40) * scale) for _ in range(self.jobs)]

    @property
    def harms(self) -> list[tuple[float, str, int]]:
        """What is done when, in seconds after the start, and a seed for to whom: each kind once at least."""
        choose = random.Random(self.seed + 1)
        times = [choose.uniform(5, 8)]
        while times[-1] < self.minutes * 60:
            times.append(times[-1] + choose.uniform(*_HARM_EVERY_S))
        kinds = list(_HARMS)
        kinds += choose.choices(list(_HARMS), weights=list(_HARMS.values()), k=max(len(times) - len(kinds), 0))
        choose.shuffle(kinds)
        return [(at, kind, choose.randrange(1 << 30)) for at, kind in zip(times, kinds, strict=False)]

    @property
    def longest_s(self) -> float:
        """When the campaign is over, whatever has not ended by then."""
        return self.minutes * 60 + 5 * max(self.steps) * STEP_S + 60


class Campaign:
    """One campaign with one way of taking checkpoints. `run` is called once."""

    def __init__(self, cluster: Cluster, plan: Plan, environ: dict[str, str], say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._plan = plan
        self._environ = environ
        self._say = say
        self._jobs: list[Job] = []
        self._cancelled: list[str] = []
        self._began = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._harms: Counter[str] = Counter()

    def run(self, script: str) -> Result:
        """Submit all jobs with SCRIPT, in which PROGRAM stands for the program's line, do harm, and wait."""
        self._began = time.monotonic()
        for number, steps in enumerate(self._plan.steps):
            self._submit(self._lay_out(f"job{number:02}", script, steps))
        for at, kind, seed in self._plan.harms:
            self._at(at, lambda kind=kind, seed=seed: self._harm(kind, random.Random(seed)))  # type: ignore[misc]
        while self._due or not all(state in ENDED for state in self._states().values()):
            if self._now_s() > self._plan.longest_s:
                break
            while self._due and self._due[0][0] <= self._now_s():
                heapq.heappop(self._due)[2]()
            time.sleep(_LOOK_S)
        wall_s = self._now_s()
        states = self._all_states()
        revived = [job for job in self._cancelled if states[job] != "CANCELLED"]
        return Result([self._end(job) for job in self._jobs], wall_s, self._harms, revived)

    def _lay_out(self, name: str, script: str, steps: int) -> Job:
        folder = self._cluster.home / name
        (folder / "stamps").mkdir(parents=True)
        shutil.copy(PROGRAM_FILES / "count.py", folder)
        line = ["python3", "count.py", *count_words(steps, stamps="stamps")]
        (folder / "job.sh").write_text(script.replace("PROGRAM", shlex.join(line)))
        self._jobs.append(Job(folder, steps))
        return self._jobs[-1]

    def _submit(self, job: Job) -> None:
        options = ("--time=1", "--output=log", "--open-mode=append", f"--job-name={job.folder.name}")
        job.ids.append(self._cluster.sbatch(job.folder / "job.sh", *options, cwd=job.folder, env=self._environ))

    def _now_s(self) -> float:
        return time.monotonic() - self._began

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (seconds, next(self._number), action))

    def _all_states(self) -> dict[str, str]:
        lines = self._cluster.call("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def _states(self) -> dict[str, str]:
        states = self._all_states()
        return {job.ids[-1]: states[job.ids[-1]] for job in self._jobs}

    def _harm(self, kind: str, choose: random.Random) -> None:
        ids = self._running()
        running = [job for job in self._jobs if job.ids[-1] in ids]
        if not running:
            return
        self._harms[kind] += 1
        {"preempt": self._preempt, "cancel": self._cancel, "crash": self._crash, "cut off": self._cut_off}[kind](
            choose.choice(running), choose
        )

    def _tell(self, text: str) -> None:
        self._say(f"{self._now_s():5.0f} s  {self._cluster.home.parent.name}: {text}")

    def _preempt(self, job: Job, choose: random.Random) -> None:
        cpus, node = choose.randint(12, 16), self._cluster.node_of(job.ids[-1])
        self._tell(f"{cpus} CPUs of {node} for a higher partition")
        options = ("--partition=high", f"--nodelist={node}", f"--cpus-per-task={cpus}", "--output=/dev/null")
        first = self._cluster.sbatch("#!/bin/sh\n", *options)
        self._cluster.wait(first, *ENDED)

    def _cancel(self, job: Job, _choose: random.Random) -> None:
        self._tell(f"{job.folder.name} is cancelled")
        self._cluster.scancel(job.ids[-1])
        self._cluster.wait_ended(job.ids[-1])
        if self._cluster.state(job.ids[-1]) == "CANCELLED":
            self._cancelled.append(job.ids[-1])
            self._at(self._now_s() + _SUBMITTED_AGAIN_AFTER_S, lambda: self._submit(job))

    def _crash(self, job: Job, _choose: random.Random) -> None:
        self._lose(job, "loses power", self._cluster.crash_node)

    def _cut_off(self, job: Job, _choose: random.Random) -> None:
        def cut_off(node: str) -> None:
            self._cluster.kill_node(node)
            self._cluster.mark_down(node)

        self._lose(job, "is cut off from the controller", cut_off)

    def _lose(self, job: Job, what: str, lose: Callable[[str], None]) -> None:
        """Do without the node of JOB until its jobs run elsewhere and a little longer; there is only one other."""
        node = self._cluster.node_of(job.ids[-1])
        victims = [one for one in self._running() if self._cluster.node_of(one) == node]
        self._tell(f"{node} {what}")
        lose(node)
        # Slurm gives up a job that is to start on a node where a former run of it has not ended
        wait_until(lambda: not any(self._all_states()[one] == "PENDING" for one in victims))
        until = time.monotonic() + _NODE_IS_AWAY_S
        wait_until(lambda: time.monotonic() > until)
        self._cluster.start_node(node)

    def _running(self) -> list[str]:
        return [job for job, state in self._states().items() if state == "RUNNING"]

    def _end(self, job: Job) -> End:
        shown = self._cluster.show(job.ids[-1])
        computed = job.computed
        return End(
            job=job,
            state=shown["JobState"],
            status=shown["ExitCode"],
            starts=sum(1 + int(self._cluster.show(one)["Restarts"]) for one in job.ids),
            output=job.output,
            computed=computed.total(),
            distinct=len(computed),
        )
