"""What the comparison after a restart says, and which differences end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.criu.inside import audit as criu_audit
from dmtcp_py.engine.dmtcp import audit
from dmtcp_py.errors import RestartFailedError
from dmtcp_py.state.record import Compared

if TYPE_CHECKING:
    from pathlib import Path


def _judge(folder: Path, *lines: str, accepts: bool = False) -> list[str]:
    (folder / "state-7.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "messages").write_text("not a report")
    warnings: list[str] = []
    audit.judge(folder, accepts=accepts, warn=warnings.append)
    return warnings


def test_no_difference_says_nothing(tmp_path: Path) -> None:
    assert _judge(tmp_path) == []
    assert audit.count_reports(tmp_path) == 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("umask\t18\t63", "process 7: umask was 022, and is 077 after the restart"),
        ("open descriptor 5\t1\t0", "process 7: open descriptor 5 was open, and is closed after the restart"),
        ("prctl setting 38\t1\t0", "process 7: prctl setting PR_SET_NO_NEW_PRIVS was 1, and is 0 after the restart"),
        (
            "seconds of interval timer 0\t1\t0",
            "process 7: seconds of interval timer ITIMER_REAL was 1, and is 0 after the restart",
        ),
    ],
)
def test_a_difference_that_may_change_a_result_ends_the_restart(tmp_path: Path, line: str, text: str) -> None:
    with pytest.raises(RestartFailedError) as raised:
        _judge(tmp_path, line)
    assert raised.value.what == text
    assert _judge(tmp_path, line, accepts=True) == [text]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("soft limit 3\t-1\t8388608", "soft limit stack was unlimited, and is 8388608"),
        ("nice\t5\t0", "nice was 5, and is 0"),
        ("name of a thread\t0\t1", "name of a thread was as it was, and is another"),
        ("prctl setting 29\t1000\t50000", "prctl setting PR_SET_TIMERSLACK was 1000, and is 50000"),
    ],
)
def test_a_difference_that_cannot_change_a_result_is_a_warning(tmp_path: Path, line: str, text: str) -> None:
    assert _judge(tmp_path, line) == [f"process 7: {text} after the restart"]


def test_a_report_says_how_much_was_compared(tmp_path: Path) -> None:
    (tmp_path / "state-7.txt").write_text("nice\t5\t0\ncompared\t40\n")
    (tmp_path / "state-8.txt").write_text("compared\t2\n")
    found = audit.judge(tmp_path, accepts=False, warn=lambda _: None)
    assert found == Compared(2, 42, ("process 7: nice was 5, and is 0 after the restart",))


def test_of_a_thread_only_what_the_first_one_does_not_have_is_recorded(tmp_path: Path) -> None:
    lines = ["umask\t63", "thread\t7", "nice\t5", "uid 0\t9", "thread\t8", "nice\t5", "uid 0\t4"]
    (tmp_path / "recorded-7.txt").write_text("".join(f"{line}\n" for line in lines))
    assert audit.recorded(tmp_path) == {
        "7": {"umask": "077", "nice of thread 7": "5", "uid 0 of thread 7": "9", "uid 0 of thread 8": "4"}
    }
    audit.forget(tmp_path)
    assert audit.recorded(tmp_path) == {}


def test_processes_that_are_gone_after_a_restore_of_criu_differ_in_nothing() -> None:
    was = {"300": {"Umask": "0022", "Threads": "1"}, "301": {"Umask": "0022"}}
    now = {"300": {"Umask": "0077", "Threads": "1"}}
    assert list(criu_audit.differences(was, now)) == [
        ("Umask", "process 300: Umask was '0022', and is '0077' after the restore")
    ]


ALARM, USER = f"{1 << 13:016x}", f"{1 << 9:016x}"
NONE = f"{0:016x}"


@pytest.mark.parametrize(
    ("was", "now", "is_same"),
    [
        (NONE, ALARM, True),
        (ALARM, NONE, True),
        (NONE, USER, False),
        (USER, NONE, False),
        (USER, USER, True),
    ],
)
def test_a_signal_of_a_timer_may_come_while_images_are_written_or_restored(
    was: str,
    now: str,
    is_same: bool,  # noqa: FBT001 - a value of the table
) -> None:
    before, after = {"7": {"ShdPnd": was}}, {"7": {"signals of timers": ALARM, "ShdPnd": now}}
    assert (list(criu_audit.differences(before, after)) == []) == is_same
