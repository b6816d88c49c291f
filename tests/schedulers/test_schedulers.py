"""What a user has of each batch scheduler: the same line goes on after the limit, and ends with the right output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dmtcp_py.batch.requeue import LIMIT
from kit.jobs import events_of

if TYPE_CHECKING:
    from schedulers.conftest import Site

LIMIT_S = 24
"""dmtcp-run stops the program after about half of it."""
STEPS = 160


def test_the_smallest_script_goes_on_after_the_limit(site: Site) -> None:
    job = site.submit_example(STEPS, options=site.server.limit(LIMIT_S))
    site.wait_ended(job)
    # more than once on a slow machine
    assert {line["stopped_for"] for line in site.history() if line.get("stopped_for")} == {LIMIT}
    site.assert_right("out.txt", STEPS)
    assert site.server.exit_status(site.last_of(job)) == 0


def test_each_task_of_an_array_is_a_job_that_status_shows_and_a_cancelled_one_is_not_requeued(site: Site) -> None:
    script = site.folder / "schedulers" / "array.sh"
    # each task has an output of its own: of two that start at the same moment with one, the second is refused
    text = (site.folder / "schedulers" / site.server.script).read_text()
    script.write_text(text.replace("--stdout out.txt", '--stdout "out.${SGE_TASK_ID:-$PBS_ARRAY_INDEX}.txt"'))
    job = site.submit(script, 2000, options=(*site.server.limit(600), *site.server.array))
    site.wait_started(2)
    rows = json.loads(site.ctl("status", "--json"))
    assert [row["batch"].rpartition(" ")[2] for row in rows] == ["running", "running"]
    assert len({row["batch"] for row in rows}) == len({row["job"] for row in rows}) == len(rows)
    site.server.cancel(job)
    site.wait_ended(job)
    assert [events_of(one).count("started") for one in site.jobs] == [1, 1]
    assert not any(line.get("what") == "requeue" for number in (0, 1) for line in site.history(number))
