"""The first process of a computation's PID namespace: it starts the program, or has criu restore it, and reaps.

It runs in namespaces that unshare(1) created, with pids and a /proc of their own; when it ends, all processes in them
end. It is never in an image: below it runs the init, a shell that leads the session, adopts orphans and is the root of
the tree that criu dumps, and below that the program. Orders and events are JSON objects, one a line, on a socket; when
that socket is closed, the supervisor is gone, and the keeper ends everything.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dmtcp_py.engine.criu.inside import attributes, mounts, network
from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.engine.criu.inside.mounts import SHM
from dmtcp_py.engine.criu.inside.pidfd import exit_status_of
from dmtcp_py.rollback import held_files
from dmtcp_py.system import libc

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_PID = 300
"""The lowest pid of an init: after pids wrap around, the kernel assigns none below 300, which leaves those to criu."""
TOOL_PID = 20
RECORD = "computation.json"
"""The file with what a restore has to know, beside the images."""
SHM_TAR = "shm.tar"
_LEFTOVER_GRACE_S = 2.0
_TERM_GRACE_S = 5.0
_TOOL_S = 600.0
_POLL_S = 0.001
_FORK_S = 2.0
_MOST_BYTES = 1 << 16
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Keeper:
    """The loop over orders and ended children."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _IGNORED}
        self._root = LEAST_PID
        self._root_status: int | None = None
        self._program: int | None = None
        self._tool: subprocess.Popen[bytes] | None = None
        self._order: dict[str, Any] = {}
        self._record: dict[str, Any] = {}
        self._temporary = ""

    def run(self) -> NoReturn:
        """Serve until the program has ended, the last image is written, or the supervisor is gone."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        poller.register(self._woken, select.POLLIN)
        while True:
            for order in self._receive_orders():
                getattr(self, f"_{order['order']}")(order)
            self._reap()
            if self._tool is None and self._root_status is not None:
                self._end(self._root_status)
            poller.poll()
            with suppress(BlockingIOError):
                os.read(self._woken, _MOST_BYTES)

    def _report(self, event: str, **values: Any) -> None:
        with suppress(OSError):
            self._sock.sendall(json.dumps({"event": event, **values}).encode() + b"\n")

    def _receive_orders(self) -> list[dict[str, Any]]:
        try:
            data = self._sock.recv(_MOST_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._end_all()
        self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def _end_all(self) -> NoReturn:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
        os._exit(0)

    def _launch(self, order: dict[str, Any]) -> None:
        self._remember(order)
        self._mount_private()
        _set_last_pid(self._root - 1)
        init = inside_argv("engine.criu.inside.init")
        ignored = [int(number) for number, handler in self._handlers.items() if handler is signal.SIG_IGN]
        values = {name: order[name] for name in ("command", "environ", "streams", "own_ipc")}
        fds = [fd for fd in self._record["fds"] if fd is not None]
        pipe = subprocess.PIPE
        child = subprocess.Popen(init, stdin=pipe, stdout=pipe, pass_fds=fds, start_new_session=True)
        # `_reap` reaps it, not this object
        child.returncode = 0
        if child.stdin and child.stdout:
            with child.stdin, child.stdout:
                child.stdin.write(json.dumps({**values, "ignored": ignored}).encode())
                child.stdin.close()
                text = child.stdout.read().decode(errors="replace")
        if not text and child.pid != self._root:
            text = "the kernel did not assign the pid that the init needs (ns_last_pid)"
        if text:
            self._report("failed", why=[text])
            os._exit(1)
        self._record["ids"] = [_identity(fd) for fd in self._record.pop("fds")]
        self._close_streams(order)
        self._watch_program(patience_s=_FORK_S)
        self._report("started")

    def _restore(self, order: dict[str, Any]) -> None:
        self._remember(order)
        folder = Path(order["folder"])
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        self._mount_private()
        if self._record["covers_shm"]:
            unpack = ["tar", "--extract", "--file", str(folder / SHM_TAR), "-C", SHM]
            owners = ["--same-owner", "--same-permissions"]
            done = subprocess.run([*unpack, *owners], stdin=subprocess.DEVNULL, timeout=_TOOL_S, check=False)
            if done.returncode:
                self._report("failed", why=[f"tar could not restore {SHM}: status {done.returncode}"])
                os._exit(1)
        fds = self._record.pop("fds")
        passed = {identity: fd for fd, identity in zip(fds, record["ids"], strict=True) if fd is not None}
        inherit = [word for identity, fd in passed.items() for word in ("--inherit-fd", f"fd[{fd}]:{identity}")]
        self._record["ids"] = [_identity(fd) for fd in fds]
        # the pids that the images need have to be free; afterwards `attributes` sets the last one
        _set_last_pid(TOOL_PID - 1)
        copies = {path: os.open(copy, os.O_RDONLY | os.O_CLOEXEC) for path, copy in order["code"].items()}
        # criu's names for files have no slash at the beginning
        inherit += [word for path, fd in copies.items() for word in ("--inherit-fd", f"fd[{fd}]:{path[1:]}")]
        passed_fds = [*(fd for fd in fds if fd is not None), *copies.values()]
        with libc.personality(attributes.personality_in(attributes.read(folder))):
            self._run_tool(order, [*order["argv"], *inherit], passed_fds)
        for fd in copies.values():
            os.close(fd)
        self._close_streams(order)

    def _dump(self, order: dict[str, Any]) -> None:
        folder = Path(order["folder"])
        (folder / RECORD).write_text(json.dumps(self._record), encoding="utf-8")
        identities = dict.fromkeys(filter(None, self._record["ids"]))
        external = [word for identity in identities for word in ("--external", identity)]
        self._run_tool(order, [*order["argv"], "--tree", str(self._root), *external], [])

    def _remember(self, order: dict[str, Any]) -> None:
        """Remember what an order to launch or to restore says about the computation."""
        self._temporary = order["temporary"]
        streams = order["streams"]
        fds = [stream.get("fd") for stream in streams]
        self._root = order["root"]
        self._record = {name: order[name] for name in ("kinds", "covers_shm", "root", "way", "addresses")}
        self._record["fds"] = fds
        for fd in fds:
            if fd is not None:
                os.set_inheritable(fd, False)

    def _close_streams(self, order: dict[str, Any]) -> None:
        for fd in {stream["fd"] for stream in order["streams"] if "fd" in stream}:
            os.close(fd)

    def _mount_private(self) -> None:
        """Mount a private /dev/shm, which goes into the images, and private pseudo-terminals with free numbers.

        A network of the program's own gets its addresses.
        """
        if self._record["addresses"] is not None:
            network.bring_up(self._record["addresses"])
        if self._record["covers_shm"]:
            mounts.mount_shm()
        if "terminal" not in self._record["kinds"]:
            mounts.mount_pts()

    def _run_tool(self, order: dict[str, Any], argv: list[str], fds: list[int]) -> None:
        self._order = order
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        # criu's own descriptors are above those of the program, which may have raised its limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        with Path(order["output"]).open("wb") as output:
            self._tool = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=fds, env=order["environ"]
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._root:
                    self._root_status = status
                elif self._tool is not None and pid == self._tool.pid:
                    self._tool.returncode = os.waitstatus_to_exitcode(status)
                    self._tool_ended(self._tool.returncode)

    def _tool_ended(self, status: int) -> None:
        order, self._tool = self._order, None
        if order["order"] == "restore":
            if status != 0:
                self._report("failed", status=status)
                os._exit(1)
            self._watch_program(patience_s=0)
            self._report("started")
            return
        if status == 0 and not (Path(order["folder"]) / held_files.NAME).exists():
            status = 1
        self._report("dumped", status=status)
        if status == 0 and order["then_stop"]:
            # criu killed the whole tree, which must not be reported as the program's own end
            os._exit(0)

    def _watch_program(self, *, patience_s: float) -> None:
        """Open a pidfd that shows how the program ended, as the init's status is ambiguous above 128."""
        until = time.monotonic() + patience_s
        while self._program is None:
            with suppress(OSError, ValueError):
                stat = Path(f"/proc/{self._root + 1}/stat").read_text(encoding="utf-8", errors="replace")
                if int(stat[stat.rindex(")") + 2 :].split()[1]) == self._root:
                    self._program = os.pidfd_open(self._root + 1)
            if time.monotonic() >= until:
                return
            time.sleep(_POLL_S)

    def _end(self, status: int) -> NoReturn:
        """Report how the program ended, give its leftover processes a little time, then end them and exit."""
        exact = None if self._program is None else exit_status_of(self._program)
        self._report("ended", status=status if exact is None else exact)
        if not self._is_alone_within(_LEFTOVER_GRACE_S):
            self._report("leftovers")
            for signum in (signal.SIGTERM, signal.SIGCONT):
                with suppress(ProcessLookupError):
                    os.kill(-1, signum)
            self._is_alone_within(_TERM_GRACE_S)
        os._exit(0)

    def _is_alone_within(self, seconds: float) -> bool:
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        poller.register(self._sock, select.POLLIN)
        until = time.monotonic() + seconds
        while True:
            with suppress(BlockingIOError):
                os.read(self._woken, _MOST_BYTES)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return True
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            poller.poll(left_s * 1000)
            self._receive_orders()


def _identity(fd: int | None) -> str | None:
    """Return criu's name for a descriptor that it does not dump, but that it inherits at a restore."""
    if fd is None:
        return None
    found = os.fstat(fd)
    if os.isatty(fd):
        return f"tty[{found.st_rdev:x}:{found.st_dev:x}]"
    return f"pipe:[{found.st_ino}]"


def _set_last_pid(pid: int) -> None:
    """Have the kernel assign the pid after PID next, so that no tool gets a pid that a restore needs."""
    with suppress(OSError):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid), encoding="ascii")


def main(words: Sequence[str]) -> NoReturn:
    """Run the keeper of a computation; WORDS: the number of the socket to the supervisor."""
    connection = socket.socket(fileno=int(words[0]))
    connection.set_inheritable(False)
    Keeper(connection).run()
