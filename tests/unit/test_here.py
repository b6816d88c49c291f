"""What a program learns of its job and asks of it, where the test stands for dmtcp-run."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import dmtcp_py
from dmtcp_py import here
from dmtcp_py.arguments import Arguments
from dmtcp_py.options import RunOptions
from dmtcp_py.store import inside, requests
from dmtcp_py.store.inside import Life
from dmtcp_py.system.files import make_private_dir
from kit.places import REPOSITORY
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.store.layout import JobLayout


def write(layout: JobLayout, **values: Any) -> None:
    fields = {"name": "1", "attempt": 1, "began": time.time(), **values}
    inside.write_life(layout, Life(**fields))


@pytest.fixture
def job(layout: JobLayout, monkeypatch: pytest.MonkeyPatch) -> JobLayout:
    """Be a program in the first life of a job."""
    make_private_dir(layout.root)
    make_private_dir(layout.requests)
    for name, value in inside.variables(layout, None).items():
        monkeypatch.setenv(name, value)
    write(layout)
    return layout


def in_thread(action: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    return thread, found


def test_examples_in_the_documentation_are_right() -> None:
    assert doctest.testmod(here).attempted > 0
    assert doctest.testmod(here).failed == 0
    page = doctest.testfile(str(REPOSITORY / "docs/python.md"), module_relative=False)
    assert page.attempted > 0
    assert page.failed == 0


def test_run_takes_every_option_of_the_command_line_by_its_name() -> None:
    fields = set(RunOptions.__struct_fields__) - {"command", "keep_record", "typed"}
    assert {name.removesuffix("_s") for name in fields} == set(Arguments.__annotations__)


def test_importing_here_costs_a_program_no_library() -> None:
    code = "import sys, dmtcp_py; dmtcp_py.here.resumed; print(sorted({'msgspec', 'click', 'sh'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'resume'"):
        _ = here.resume  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="has no attribute 'there'"):
        _ = dmtcp_py.there  # type: ignore[attr-defined]


def test_each_life_is_seen_at_once(job: JobLayout) -> None:
    assert (here.resumed, here.attempt, here.time_left_s) == (False, 1, None)
    write(job, attempt=3, generation=7, stops=time.time() + 50, ends=time.time() + 60)
    assert (here.resumed, here.attempt) == (True, 3)
    assert here.time_left_s == pytest.approx(50, abs=5)
    write(job, stops=time.time() - 1, ends=time.time() + 60)
    assert here.time_left_s == 0


def test_a_batch_job_that_the_program_submits_is_not_inside(job: JobLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inside.BATCH_VARIABLE, "41")
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    assert here.attempt == 1
    monkeypatch.delenv("SLURM_JOB_ID")
    assert here.attempt == 1
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert (here.attempt, here.checkpoint()) == (0, None)
    with here.inhibit():
        assert list(job.requests.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "1"}', "elsewhere"])
def test_a_life_that_cannot_be_read_is_none(job: JobLayout, text: str) -> None:
    job.life.unlink()
    if text:
        job.life.symlink_to(text)
    assert (here.attempt, here.checkpoint()) == (0, None)


def test_fields_of_a_newer_dmtcp_run_are_ignored(job: JobLayout) -> None:
    inside.write_link(job.life, {"name": "1", "attempt": 2, "began": 1.0, "colour": "blue"})
    assert here.attempt == 2


def test_a_checkpoint_is_asked_for_and_its_generation_returned(job: JobLayout) -> None:
    thread, found = in_thread(here.checkpoint)
    (asked,) = wait_until(lambda: requests.collect(job))
    assert (asked.action, asked.request.asked_by) == ("checkpoint", f"the program, pid {os.getpid()}")
    asked.answer(ok=True, text="generation 4 is committed", generation=4)
    thread.join(LONG_S)
    assert found == [4]
    assert list(job.requests.iterdir()) == []


def test_a_checkpoint_that_failed_is_none_however_long_the_reason(job: JobLayout) -> None:
    thread, found = in_thread(here.checkpoint)
    (asked,) = wait_until(lambda: requests.collect(job))
    asked.answer(ok=False, text="ä" * 5000)
    thread.join(LONG_S)
    assert found == [None]


def test_a_program_that_is_resumed_while_it_waits_goes_on_with_that_generation(job: JobLayout) -> None:
    thread, found = in_thread(here.checkpoint)
    wait_until(lambda: requests.collect(job))
    requests.clear(job)
    write(job, name="2", generation=9)
    thread.join(LONG_S)
    assert found == [9]


def test_an_answer_that_does_not_come_is_none_and_leaves_nothing(job: JobLayout) -> None:
    assert here.checkpoint(0.1) is None
    assert list(job.requests.iterdir()) == []


def test_a_section_is_seen_for_as_long_as_it_goes_on(job: JobLayout) -> None:
    with here.inhibit(at_most_s=30):
        until = inside.last_section_end(job)
        assert until == pytest.approx(time.time() + 30, abs=5)
        write(job, is_checkpointing=True)
        with here.inhibit(at_most_s=600):
            assert inside.last_section_end(job) == pytest.approx(time.time() + 600, abs=5)
        assert inside.last_section_end(job) == until
    assert inside.last_section_end(job) is None
    assert list(job.requests.iterdir()) == []


def test_a_section_that_lasts_too_long_is_over_for_dmtcp_run(job: JobLayout) -> None:
    with here.inhibit(at_most_s=0.05):
        wait_until(lambda: inside.last_section_end(job) is None)


def test_sections_of_one_thread_may_overlap(job: JobLayout) -> None:
    """As those of coroutines do."""
    first, second = here.inhibit(30), here.inhibit(60)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert inside.last_section_end(job) == pytest.approx(time.time() + 60, abs=5)
    second.__exit__(None, None, None)
    assert list(job.requests.iterdir()) == []


@pytest.mark.parametrize("at_most_s", [0, -1, 601, float("nan"), float("inf")])
def test_a_section_without_a_bound_is_refused(at_most_s: float) -> None:
    with pytest.raises(ValueError, match="at_most_s"), here.inhibit(at_most_s):
        pass


def test_a_checkpoint_within_a_section_is_refused_and_in_a_child_that_forked_there_is_not(job: JobLayout) -> None:
    with here.inhibit():
        with pytest.raises(RuntimeError, match="within inhibit"):
            here.checkpoint()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = int(here.checkpoint(0.05) is not None)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert inside.last_section_end(job) is not None


def test_a_section_begins_after_the_checkpoint_that_is_announced(job: JobLayout) -> None:
    write(job, is_checkpointing=True)
    begun = threading.Event()

    def section() -> None:
        with here.inhibit():
            begun.set()

    thread, _ = in_thread(section)
    assert not begun.wait(0.3)
    assert inside.last_section_end(job) is None
    write(job)
    thread.join(LONG_S)
    assert begun.is_set()


def test_a_section_that_was_not_in_the_image_begins_once_more(job: JobLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image was taken right after the section had announced itself, and before it had looked."""
    put = inside.put_section

    def put_and_die(layout: JobLayout, until: float) -> object:
        link = put(layout, until)
        monkeypatch.setattr(inside, "put_section", put)
        inside.clear_sections(layout)
        write(layout, name="2", generation=1)
        return link

    monkeypatch.setattr(inside, "put_section", put_and_die)
    with here.inhibit():
        assert inside.last_section_end(job) is not None


def test_no_section_begins_right_before_the_last_checkpoint_but_long_ones_keep_nobody_from_computing(
    job: JobLayout,
) -> None:
    now = time.time()
    write(job, began=now - 1000, stops=now + 5, ends=now + 100)
    begun = threading.Event()

    def section() -> None:
        with here.inhibit(30):
            begun.set()

    thread, _ = in_thread(section)
    assert not begun.wait(0.3)
    write(job, name="2", generation=1, stops=now + 1000, ends=now + 1100)
    thread.join(LONG_S)
    assert begun.is_set()
    write(job, began=now, stops=now + 100, ends=now + 120)
    with here.inhibit(600):
        assert inside.last_section_end(job) is not None
