"""What dmtcp-ctl asks of a running attempt, through files."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.errors import StoreError
from dmtcp_py.store import requests
from dmtcp_py.store.records import Request, encode, read_record, utc_now
from dmtcp_py.system.files import make_private_dir
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout


@pytest.fixture(autouse=True)
def _a_running_job(layout: JobLayout) -> None:
    make_private_dir(layout.root)
    make_private_dir(layout.requests)


def put(layout: JobLayout, name: str, action: str = "checkpoint") -> Path:
    """Ask for ACTION without waiting for the answer."""
    path = layout.requests / name
    path.write_bytes(encode(Request(action=action, asked_by="a test", asked=utc_now())))
    return path


def ask(layout: JobLayout, action: str, timeout_s: float, *, served: bool = True) -> Request | None:
    """Ask for ACTION of an attempt that is there, or not."""
    return requests.ask(layout, action, timeout_s=timeout_s, is_served=lambda: served)


def asking(layout: JobLayout, action: str, timeout_s: float = LONG_S) -> tuple[threading.Thread, list[Any]]:
    """Ask for ACTION in a thread; return it with where the answer will be."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask(layout, action, timeout_s)))
    thread.start()
    return thread, answers


def test_what_is_asked_is_collected_and_answered(layout: JobLayout) -> None:
    thread, answers = asking(layout, "checkpoint")
    collected: list[requests.PendingRequest] = []
    wait_until(lambda: collected.extend(requests.collect(layout)) or collected)
    (waiting,) = collected
    assert waiting.action == "checkpoint"
    waiting.answer(ok=True, text="generation 3 is committed", generation=3)
    thread.join(LONG_S)
    assert (answers[0].ok, answers[0].answer, answers[0].generation) == (True, "generation 3 is committed", 3)
    assert list(layout.requests.iterdir()) == []


def test_what_is_asked_says_who_asks(layout: JobLayout) -> None:
    thread, _ = asking(layout, "stop", timeout_s=0.3)
    wait_until(lambda: list(layout.requests.glob("*.ask")))
    (path,) = layout.requests.glob("*.ask")
    assert read_record(path, Request).asked_by.startswith("pid ")
    thread.join(LONG_S)


def test_nobody_answering_ends_at_the_time_out_and_leaves_nothing(layout: JobLayout) -> None:
    assert ask(layout, "checkpoint", 0.15) is None
    assert list(layout.requests.iterdir()) == []


def test_nobody_being_there_ends_before_the_time_out(layout: JobLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_ALIVE_CHECK_S", 0.1)
    began = time.monotonic()
    assert ask(layout, "checkpoint", LONG_S, served=False) is None
    assert time.monotonic() - began < LONG_S / 4
    assert list(layout.requests.iterdir()) == []


def test_an_answer_that_comes_with_the_end_of_the_attempt_is_not_missed(
    layout: JobLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_ALIVE_CHECK_S", 0.1)

    def answers_and_ends() -> bool:
        for waiting in requests.collect(layout):
            waiting.answer(ok=True, text="generation 1 is committed", generation=1)
        return False

    answer = requests.ask(layout, "stop", timeout_s=LONG_S, is_served=answers_and_ends)
    assert answer is not None
    assert answer.generation == 1


def test_a_request_is_collected_once(layout: JobLayout) -> None:
    put(layout, "1.ask")
    assert len(requests.collect(layout)) == 1
    assert requests.collect(layout) == []


def test_requests_are_collected_in_the_order_in_which_they_were_made(layout: JobLayout) -> None:
    put(layout, "200-b.ask", "stop")
    put(layout, "100-a.ask", "checkpoint")
    assert [waiting.action for waiting in requests.collect(layout)] == ["checkpoint", "stop"]


@pytest.mark.parametrize("name", ["note", ".1.ask.77.tmp", "1.taken", "1.ask.old"])
def test_other_files_are_no_requests(layout: JobLayout, name: str) -> None:
    path = put(layout, name)
    assert requests.collect(layout) == []
    assert path.exists()


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"action": 5}', b'{"format": 2}', b"[" * 100_000])
def test_garbage_is_dropped_and_hides_no_other(layout: JobLayout, garbage: bytes) -> None:
    (layout.requests / "1.ask").write_bytes(garbage)
    put(layout, "2.ask")
    assert len(requests.collect(layout)) == 1
    assert not (layout.requests / "1.ask").exists()


def test_a_folder_with_the_name_of_a_request_stops_nothing(layout: JobLayout) -> None:
    (layout.requests / "1.ask").mkdir()
    put(layout, "2.ask")
    assert len(requests.collect(layout)) == 1


def test_an_action_that_is_not_known_is_answered(layout: JobLayout) -> None:
    put(layout, "1.ask", "dance")
    assert requests.collect(layout) == []
    answer = read_record(layout.requests / "1.taken", Request)
    assert answer.ok is False
    assert answer.answer == "the running dmtcp-run does not know the action 'dance'"


def test_fields_of_a_newer_dmtcp_ctl_are_ignored(layout: JobLayout) -> None:
    path = put(layout, "1.ask")
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
    assert [waiting.action for waiting in requests.collect(layout)] == ["checkpoint"]


def test_answering_writes_through_no_symlink(layout: JobLayout, tmp_path: Path) -> None:
    precious = put(layout, "precious")
    before = precious.rename(tmp_path / "precious").read_bytes()
    (layout.requests / "1.ask").symlink_to(tmp_path / "precious")
    for waiting in requests.collect(layout):
        waiting.answer(ok=True, text="done")
    assert (tmp_path / "precious").read_bytes() == before


def test_an_answer_that_nobody_waits_for_is_no_error(layout: JobLayout) -> None:
    put(layout, "1.ask")
    (waiting,) = requests.collect(layout)
    requests.clear(layout)
    layout.requests.rmdir()
    waiting.answer(ok=True, text="too late")


@pytest.mark.parametrize("call", [requests.collect, requests.clear])
def test_no_folder_means_no_requests(layout: JobLayout, call: Callable[[JobLayout], object]) -> None:
    layout.requests.rmdir()
    assert not call(layout)


def test_what_was_asked_of_earlier_attempts_is_dropped(layout: JobLayout) -> None:
    put(layout, "1.ask")
    put(layout, "2.taken")
    requests.clear(layout)
    assert list(layout.requests.iterdir()) == []


def test_asking_where_nothing_can_be_written_is_one_error(layout: JobLayout) -> None:
    layout.requests.rmdir()
    with pytest.raises(StoreError, match="cannot be written: No such file or directory") as refused:
        ask(layout, "stop", 1)
    assert str(layout.requests) in refused.value.what
