"""Many jobs on a cluster that preempts, cancels and loses nodes: all of them end right, and little work is lost.

``DMTCP_RUN_CAMPAIGN_MINUTES=10 pytest -s tests/slurm/test_campaign.py`` runs a longer campaign, and prints beside it
what a batch script written by hand makes of the same one; ``DMTCP_RUN_CAMPAIGN_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from kit.campaign import Campaign, Plan
from kit.tally import Output, Result, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.cluster import Cluster
    from kit.engines import EngineHere

MINUTES = float(os.environ.get("DMTCP_RUN_CAMPAIGN_MINUTES", "0"))
SEED = int(os.environ.get("DMTCP_RUN_CAMPAIGN_SEED", "0")) or random.randrange(1, 1 << 16)
SHORT = Plan(SEED, jobs=6, minutes=0.7)
PLAN = Plan(SEED, jobs=10, minutes=MINUTES) if MINUTES else SHORT
INTERVAL_S = 5
"""Far shorter than anybody's, as is the time between two harms."""
WITH_DMTCP_RUN = f"""\
#!/bin/bash
exec dmtcp-run -i {INTERVAL_S} --stdout out.txt PROGRAM
"""
BY_HAND = f"""\
#!/bin/bash
#SBATCH --signal=B:USR1@30 --requeue
# as the manuals of computing centres have it, and better than most: it goes on where there is something to go on from,
# also when it is submitted again, it waits for the program and ends with its status, and it appends its output, which a
# restart would otherwise cut off or send elsewhere
start_coordinator() {{
    dmtcp_coordinator --daemon --exit-on-last -p 0 --port-file "port.$SLURM_JOB_ID" "$@" >/dev/null 2>&1
    DMTCP_COORD_HOST=$(hostname)
    DMTCP_COORD_PORT=$(cat "port.$SLURM_JOB_ID")
    export DMTCP_COORD_HOST DMTCP_COORD_PORT
}}
checkpoint_and_requeue() {{
    dmtcp_command --bcheckpoint
    scontrol requeue "$SLURM_JOB_ID"
}}
export DMTCP_GZIP=0
start_coordinator -i {INTERVAL_S}
trap checkpoint_and_requeue USR1
if [ -e dmtcp_restart_script.sh ]; then
    ./dmtcp_restart_script.sh >>out.txt &
else
    dmtcp_launch -j PROGRAM >>out.txt &
fi
wait $!
"""


@pytest.mark.timeout(int(PLAN.longest_s) + 180)
def test_every_job_of_a_campaign_ends_right_or_says_why_not(
    make_cluster: Callable[..., Cluster], one_engine: EngineHere
) -> None:
    scripts = {"dmtcp-run": WITH_DMTCP_RUN}
    if one_engine.name == "dmtcp":
        scripts["a script by hand"] = BY_HAND
    clusters = [make_cluster(options={"MinJobAge": "86400"}) for _ in scripts]
    print(f"seed {PLAN.seed}: {PLAN.jobs} jobs, {len(PLAN.harms)} harms in {PLAN.minutes} minutes")  # noqa: T201
    with ThreadPoolExecutor() as threads:
        campaigns = [Campaign(cluster, PLAN, _environ(one_engine, cluster), print) for cluster in clusters]
        found = threads.map(lambda pair: pair[0].run(pair[1]), zip(campaigns, scripts.values(), strict=True))
        results = dict(zip(scripts, found, strict=True))
    for name, result in results.items():
        for end in result.ends:
            if not end.has_finished or end.output is not Output.IDENTICAL:
                print(f"{name}: {end}")  # noqa: T201
    print(table(results))  # noqa: T201
    _assert_right(results["dmtcp-run"])


def _environ(engine: EngineHere, cluster: Cluster) -> dict[str, str]:
    prefix = engine.environ.get("DMTCP_PREFIX")
    path = cluster.environ["PATH"]
    return {**engine.environ, "PATH": f"{prefix}/bin:{path}" if prefix else path}


def _assert_right(result: Result) -> None:
    assert not result.revived
    for end in result.ends:
        if end.has_finished:
            assert end.output is Output.IDENTICAL, str(end)
        else:
            assert "not requeued: " in end.job.log, str(end)
