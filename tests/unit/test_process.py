"""Processes that are started, watched and ended: real ones."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dmtcp_py.errors import EngineError
from dmtcp_py.system.child import Child, ChildStdio, ExitStatus, Guard
from dmtcp_py.system.files import make_temporary, remove_abandoned, remove_temporaries
from dmtcp_py.system.proc import boot_id, process_tree, started_at
from dmtcp_py.system.reaping import end_group, end_leftovers, reap_group, signal_group
from dmtcp_py.system.timeout import Timeout
from dmtcp_py.system.tools import run_tool
from kit.waits import LONG_S, happens, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLEEP = ["sleep", "1000"]
DEAF = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done"]
SUPERVISOR = """
import sys, time
from pathlib import Path
from dmtcp_py.system.child import Child, Guard
folder = Path(sys.argv[1])
guard = Guard(folder, {"PATH": "/usr/bin:/bin"})
program = Child(["sh", "-c", "trap '' TERM HUP INT; sleep 1000 & wait"], env={"PATH": "/usr/bin:/bin"})
guard.watch(program.pid)
print(guard.pid, program.pid, flush=True)
if len(sys.argv) > 2:
    guard.dismiss()
    print("dismissed", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Start children that are ended, with what they started, after the test."""
    started: list[Child] = []

    def start_one(argv: list[str], **options: bool | ChildStdio) -> Child:
        child = Child(argv, env=os.environ, **options)  # type: ignore[arg-type]
        started.append(child)
        return child

    yield start_one
    for child in started:
        child.signal_group(signal.SIGKILL)
        child.stop(grace_s=0)
        wait_until(lambda pid=child.pid: reap_group(pid) or not signal_group(pid, 0), 10)
        for stream in (child.stdin, child.stdout):
            if stream:
                stream.close()


def is_gone(pid: int) -> bool:
    """Tell whether process PID has ended, and reap it where it has become ours."""
    if started_at(pid) is not None:
        return False
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


class TestChild:
    """A process that we started and wait for."""

    def test_it_runs_and_its_status_is_told(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "exit 7"])
        assert child.wait(LONG_S) == ExitStatus(status=7)
        assert child.poll() == ExitStatus(status=7)

    def test_the_signal_that_killed_it_is_told(self, start: Callable[..., Child]) -> None:
        ending = start(["sh", "-c", "kill -USR1 $$"]).wait(LONG_S)
        assert ending == ExitStatus(signum=signal.SIGUSR1)
        assert ending is not None
        assert ending.shell_status == 138

    def test_while_it_runs_it_has_no_ending(self, start: Callable[..., Child]) -> None:
        child = start(SLEEP)
        assert child.poll() is None
        assert child.wait(0.05) is None

    def test_it_leads_a_session_and_group_of_its_own(self, start: Callable[..., Child]) -> None:
        child = start(SLEEP)
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid

    def test_without_a_session_it_stays_in_ours(self, start: Callable[..., Child]) -> None:
        assert os.getsid(start(SLEEP, own_session=False).pid) == os.getsid(0)

    def test_stop_asks_first(self, start: Callable[..., Child]) -> None:
        assert start(SLEEP).stop() == ExitStatus(signum=signal.SIGTERM)

    def test_stop_kills_what_does_not_listen(self, start: Callable[..., Child]) -> None:
        child = start(DEAF, stdio=ChildStdio(stdout=subprocess.PIPE))
        assert child.stdout is not None
        assert child.stdout.readline() == b"deaf\n"
        assert child.stop(grace_s=0.1) == ExitStatus(signum=signal.SIGKILL)

    def test_stopping_what_has_ended_tells_its_ending(self, start: Callable[..., Child]) -> None:
        child = start(["true"])
        child.wait(LONG_S)
        assert child.stop() == ExitStatus(status=0)

    def test_a_signal_to_its_group_reaches_its_children(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 1000 & echo $!; wait"], stdio=ChildStdio(stdout=subprocess.PIPE))
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert child.signal_group(signal.SIGKILL)
        child.wait(LONG_S)
        wait_until(lambda: is_gone(grandchild), 10)
        assert not child.signal_group(signal.SIGKILL)

    def test_what_is_not_there_is_named(self) -> None:
        with pytest.raises(EngineError, match="no-such-program cannot be executed: No such file or directory"):
            Child(["no-such-program"], env=os.environ)

    def test_what_cannot_be_executed_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no program")
        with pytest.raises(EngineError, match="text cannot be executed: Permission denied"):
            Child([str(tmp_path / "text")], env=os.environ)

    def test_it_gets_the_environment_that_is_given_and_no_other(self) -> None:
        child = Child(["/usr/bin/env"], env={"ONLY": "this"}, stdio=ChildStdio(stdout=subprocess.PIPE))
        assert child.stdout is not None
        assert child.stdout.read() == b"ONLY=this\n"
        child.wait(LONG_S)
        child.stdout.close()

    def test_one_that_dies_with_us_does(self) -> None:
        script = (
            "import os, signal\nfrom dmtcp_py.system.child import Child\n"
            "child = Child(['sleep', '1000'], env=os.environ, dies_with_us=True)\n"
            "print(child.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=LONG_S, check=False)
        wait_until(lambda: is_gone(int(done.stdout)), 10)


class TestGuard:
    """What cleans up when the supervisor cannot."""

    def test_it_kills_the_program_and_removes_the_folder_when_its_supervisor_is_killed(self, tmp_path: Path) -> None:
        folder = _with_files(tmp_path / "temporary folder")
        with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder)], stdout=subprocess.PIPE) as supervisor:
            assert supervisor.stdout is not None
            guard, program = map(int, supervisor.stdout.readline().split())
            below = [pid for pid, _ in process_tree(program)]
            assert started_at(program) is not None
            supervisor.kill()
        wait_until(lambda: all([is_gone(pid) for pid in (*below, program, guard)]), 10)  # noqa: C419 - reap them all
        assert not folder.exists()
        assert tmp_path.exists()

    def test_dismissed_it_leaves_everything_alone(self, tmp_path: Path) -> None:
        folder = _with_files(tmp_path / "temporary")
        argv = [sys.executable, "-c", SUPERVISOR, str(folder), "dismiss"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as supervisor:
            assert supervisor.stdout is not None
            guard, program = map(int, supervisor.stdout.readline().split())
            assert supervisor.stdout.readline() == b"dismissed\n"
            supervisor.kill()
        assert is_gone(guard)
        assert started_at(program) is not None
        assert list(folder.iterdir())
        os.killpg(program, signal.SIGKILL)
        wait_until(lambda: is_gone(program), 10)

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
    def test_signals_to_everything_do_not_end_it(self, tmp_path: Path, signum: int) -> None:
        guard = Guard(_with_files(tmp_path / "temporary"), os.environ)
        _await_shell(guard.pid)
        os.kill(guard.pid, signum)
        guard.watch(2**22)
        assert started_at(guard.pid) is not None
        guard.dismiss()
        assert started_at(guard.pid) is None

    def test_one_that_was_killed_stops_nothing(self, tmp_path: Path) -> None:
        guard = Guard(_with_files(tmp_path / "temporary"), os.environ)
        os.kill(guard.pid, signal.SIGKILL)
        wait_until(lambda: started_at(guard.pid) is None, 10)
        guard.watch(2**22)
        guard.dismiss()


def _with_files(folder: Path) -> Path:
    folder.mkdir()
    (folder / "below").mkdir()
    (folder / "below" / "file").touch()
    return folder


def _await_shell(pid: int) -> None:
    """Wait until the shell PID has set its traps: it then reads."""
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING and _ignores_term(pid), 10)


def _ignores_term(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123 - no path of ours
        mask = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
    return bool(mask & 1 << signal.SIGTERM - 1)


class TestLeftovers:
    """What an attempt that was killed may have left running."""

    def test_what_is_left_is_killed(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"], stdio=_PIPE)
        _await_line(child)
        left = process_tree(child.pid)
        assert len(left) == 3
        assert end_leftovers(left)
        assert all(started_at(pid) is None for pid, _ in left)

    def test_a_pid_that_another_process_got_is_harmless(self, start: Callable[..., Child]) -> None:
        child = start(SLEEP)
        then = started_at(child.pid)
        assert then is not None
        for another in (then - 1, then + 1, 0.0):
            assert not end_leftovers([(child.pid, another)])
        assert child.poll() is None

    def test_the_session_of_another_process_with_that_pid_is_harmless(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 1000 & echo ready; wait"], stdio=_PIPE)
        _await_line(child)
        then = started_at(child.pid)
        assert then is not None
        assert not end_leftovers([(child.pid, then - 100)])
        assert len(process_tree(child.pid)) == 2

    def test_children_are_found_when_the_leader_of_their_session_is_gone(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 1000 & echo $!"], stdio=_PIPE)
        leader = [(child.pid, started_at(child.pid) or 0.0)]
        grandchild = int(_await_line(child))
        child.wait(LONG_S)
        assert started_at(grandchild) is not None
        assert end_leftovers(leader)
        assert is_gone(grandchild)

    def test_nothing_left_is_nothing_done(self) -> None:
        assert not end_leftovers([])
        assert not end_leftovers([(2**22, 1.0)])

    def test_one_that_does_not_go_stops_us(self, start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch) -> None:
        child = start(SLEEP)
        monkeypatch.setattr("dmtcp_py.system.reaping.KILL_WAIT_S", 0.05)
        with monkeypatch.context() as patched:
            patched.setattr(os, "kill", lambda _pid, _signum: None)
            with pytest.raises(EngineError, match=rf"processes \[{child.pid}\].* do not end"):
                end_leftovers(process_tree(child.pid))


_PIPE = ChildStdio(stdout=subprocess.PIPE)


def _await_line(child: Child) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


class TestGroup:
    """A process group that is to end."""

    def test_one_that_ends_by_itself_in_time_is_let_be(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 0.2 & echo ready"], stdio=_PIPE)
        _await_line(child)
        assert not end_group(child.pid, grace_s=LONG_S)

    def test_one_that_does_not_is_ended(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 1000 & echo $!"], stdio=_PIPE)
        grandchild = int(_await_line(child))
        assert end_group(child.pid, grace_s=0.05)
        assert is_gone(grandchild)

    def test_one_whose_number_another_process_has_by_now_is_let_be(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "setsid sleep 1000 & echo $!; wait"], stdio=_PIPE)
        others = int(_await_line(child))
        wait_until(lambda: os.getpgid(others) == others, LONG_S)
        assert not end_group(others, grace_s=0.05)
        assert not is_gone(others)
        os.kill(others, signal.SIGKILL)

    def test_one_that_is_suspended_is_ended(self, start: Callable[..., Child]) -> None:
        child = start(SLEEP)
        child.signal(signal.SIGSTOP)
        assert end_group(child.pid, grace_s=0.05)

    def test_one_that_does_not_listen_is_killed(
        self, start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dmtcp_py.system.reaping.TERM_GRACE_S", 0.1)
        child = start(DEAF, stdio=_PIPE)
        _await_line(child)
        assert end_group(child.pid, grace_s=0.05)
        wait_until(lambda: is_gone(child.pid), 10)


class TestRunTool:
    """Short calls of helper programs."""

    def test_status_and_output_are_told(self) -> None:
        done = run_tool(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=LONG_S)
        assert done.status == 3
        assert sorted(done.output.splitlines()) == ["err", "out"]

    def test_words_are_words_and_no_shell_reads_them(self) -> None:
        assert run_tool(["printf", "%s|", "a b", "$HOME", "`id`", ""], timeout_s=LONG_S).output == "a b|$HOME|`id`||"

    def test_one_that_does_not_answer_in_time_is_killed(self) -> None:
        began = time.monotonic()
        done = _in_a_session_of_its_own(["sleep", "1003"])
        assert done.stdout == b"sleep did not answer within 0 s\n", "the caller lives and is told"
        assert done.returncode == 0
        assert time.monotonic() - began < LONG_S / 4
        wait_until(lambda: not _running(["sleep", "1003"]), 10)

    def test_children_of_one_that_does_not_answer_are_killed_with_it(self) -> None:
        assert _in_a_session_of_its_own(["sh", "-c", "sleep 1004 & wait"]).returncode == 0
        wait_until(lambda: not _running(["sleep", "1004"]), 10)

    def test_one_that_keeps_its_output_open_elsewhere_does_not_hold_us(self) -> None:
        began = time.monotonic()
        assert _in_a_session_of_its_own(["sh", "-c", "setsid sleep 20 & wait"]).returncode == 0
        assert time.monotonic() - began < 10
        for one in _running(["sleep", "20"]):
            one.kill()

    def test_a_time_out_counts_what_tools_take(self) -> None:
        """A coordinator that does not answer may not hold up a wait for twenty times its bound."""
        timeout, turns = Timeout(3.5), 0
        while not timeout.is_over():
            turns += 1
            run_tool(["sleep", "2"], timeout_s=LONG_S)
        assert turns <= 2

    def test_a_time_out_counts_little_of_what_nobody_bounds(self) -> None:
        """The process may have been stopped then."""
        timeout = Timeout(1.5)
        happens(lambda: False, 2.0)
        assert not timeout.is_over()

    def test_one_that_is_missing_is_named(self) -> None:
        with pytest.raises(EngineError, match="no-such-tool"):
            run_tool(["no-such-tool"], timeout_s=LONG_S)

    def test_one_that_a_signal_kills_has_a_shells_status(self) -> None:
        assert run_tool(["sh", "-c", "kill -KILL $$"], timeout_s=LONG_S).status == 137

    def test_it_gets_the_environment_that_is_given_and_no_other(self) -> None:
        assert run_tool(["/usr/bin/env"], timeout_s=LONG_S, env={"ONLY": "this"}).output == "ONLY=this\n"

    def test_output_that_is_no_text_is_no_error(self) -> None:
        assert "x" in run_tool(["printf", r"\377x"], timeout_s=LONG_S).output


def _in_a_session_of_its_own(tool: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Have another process run TOOL with a short time-out: killing too much must not reach the tests."""
    script = (
        "import sys\nfrom dmtcp_py.errors import EngineError\nfrom dmtcp_py.system.tools import run_tool\n"
        "try: run_tool(sys.argv[1:], timeout_s=0.3)\nexcept EngineError as error: print(error)\n"
    )
    argv = [sys.executable, "-c", script, *tool]
    return subprocess.run(argv, stdout=subprocess.PIPE, timeout=LONG_S, check=False, start_new_session=True)


def _running(argv: list[str]) -> list[psutil.Process]:
    """Return the descendants of ours that run ARGV, after reaping those that ended."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if one.status() == psutil.STATUS_ZOMBIE:
                is_gone(one.pid)
            elif one.cmdline() == argv:
                found.append(one)
    return found


class TestLooking:
    """What is found out about processes and machines."""

    def test_a_process_that_is_not_there_has_not_started(self) -> None:
        assert started_at(2**22) is None

    def test_a_process_that_has_ended_and_waits_to_be_reaped_is_gone(self) -> None:
        child = subprocess.Popen(["true"])
        wait_until(lambda: started_at(child.pid) is None, 10)
        child.wait(LONG_S)

    def test_no_name_of_a_program_misleads(self, start: Callable[..., Child], tmp_path: Path) -> None:
        program = tmp_path / ") Z 1 ("
        shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
        child = start([str(program), "1000"])
        assert started_at(child.pid) == pytest.approx(started_at(os.getpid()), abs=1e7)
        assert process_tree(child.pid) == [(child.pid, started_at(child.pid))]

    def test_a_tree_begins_with_its_root(self, start: Callable[..., Child]) -> None:
        child = start(["sh", "-c", "sleep 1000 & echo ready; wait"], stdio=_PIPE)
        _await_line(child)
        assert process_tree(child.pid)[0][0] == child.pid
        assert len(process_tree(child.pid)) == 2
        assert process_tree(2**22) == []

    def test_the_boot_is_told_the_same_each_time(self) -> None:
        assert boot_id() == boot_id()
        assert boot_id()


class TestTemporary:
    """Temporary folders of a job, some of which outlive a SIGKILL."""

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def test_they_are_this_users_alone(self, tmp_path: Path) -> None:
        folder = make_temporary(tmp_path / "job")
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_those_of_the_job_are_removed_and_no_others(self, tmp_path: Path) -> None:
        mine = [make_temporary(tmp_path / "job") for _ in range(2)]
        other = make_temporary(tmp_path / "other job")
        (mine[0] / "file").touch()
        remove_temporaries(tmp_path / "job")
        assert [folder.exists() for folder in (*mine, other)] == [False, False, True]

    def test_those_of_another_job_go_once_the_process_that_made_them_was_killed(self, tmp_path: Path) -> None:
        program = "import sys; from pathlib import Path; from dmtcp_py.system.files import make_temporary; "
        program += "print(make_temporary(Path('other'), Path(sys.argv[1])), flush=True); sys.stdin.read()"
        argv = [sys.executable, "-c", program, str(tmp_path)]
        mine = make_temporary(tmp_path / "job")
        unknown = tmp_path / "dmtcp-run-faults-of-others"
        unknown.mkdir()
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            theirs = Path(other.stdout.readline().strip())
            remove_abandoned()
            assert [folder.exists() for folder in (mine, theirs, unknown)] == [True, True, True]
            other.kill()
            other.wait(LONG_S)
            (theirs / ".boot").write_text("of another machine that shares this place")
            remove_abandoned()
            assert theirs.exists()
            (theirs / ".boot").write_text(boot_id())
            remove_abandoned()
        assert [folder.exists() for folder in (mine, theirs, unknown)] == [True, False, True]

    def test_a_symlink_with_such_a_name_is_not_followed(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        folder = make_temporary(tmp_path / "job")
        link = folder.with_name(folder.name + "x")
        link.symlink_to(precious)
        (precious / "file").touch()
        remove_temporaries(tmp_path / "job")
        assert (precious / "file").exists()


def test_a_tool_that_other_code_waited_for_is_reported() -> None:
    """As the end of an attempt does, which reaps all children while a thread asks the scheduler for the time limit."""
    text = (
        "import signal\n"
        "from dmtcp_py.errors import EngineError\n"
        "from dmtcp_py.system.tools import run_tool\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "try:\n"
        "    run_tool(['true'], timeout_s=60)\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.stdout, done.stderr) == ("true was ended\n", "")


def test_a_tool_is_not_reaped_as_an_orphan_while_a_thread_waits_for_it() -> None:
    """As squeue, which a thread asks for the time limit while the supervisor reaps what the program left behind."""
    text = (
        "import threading\n"
        "from dmtcp_py.system.reaping import reap_orphans\n"
        "from dmtcp_py.system.tools import run_tool\n"
        "run_tool(['true'], timeout_s=60)\n"
        "found = []\n"
        "ask = lambda: found.extend(run_tool(['true'], timeout_s=60).status for _ in range(30))\n"
        "thread = threading.Thread(target=ask)\n"
        "thread.start()\n"
        "while thread.is_alive():\n"
        "    reap_orphans([])\n"
        "print(found.count(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.stdout, done.stderr) == ("30\n", "")


_LOOKS_AS_ANOTHER = """
import ctypes, os, sys
from dmtcp_py.system.proc import files_open
files_open(os.getpid())  # imports what another user may not
hidden = open(os.path.join(sys.argv[1], "out.txt"), "w")
os.chmod(sys.argv[1], 0)
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is this user's again
seen = open(sys.argv[2], "w")
found = files_open(os.getpid())
print(sorted(found.for_writing))
"""


def test_a_file_that_was_passed_on_and_cannot_be_reached_hides_no_other(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        seen = Path(folder) / "seen.txt"
        line = [sys.executable, "-c", _LOOKS_AS_ANOTHER, hidden, seen]
        done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
        hidden.chmod(0o700)
        assert done.stdout == f"['{seen}']\n", done.stderr
