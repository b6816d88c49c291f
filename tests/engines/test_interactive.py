"""What people use rather than run: notebook kernels, servers that listen, programs with a window and its X server."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench

CHECKPOINTED = 85
CHANNELS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
pytestmark = pytest.mark.usefixtures("one_of_each")

WINDOW = """
import sys, tkinter
root, count = tkinter.Tk(), 0
label = tkinter.Label(root); label.pack()
def tick():
    global count
    count += 1
    label.config(text="x" * count); root.update()
    print(count, label.winfo_width() > 1, flush=True)
    root.after(100, tick) if count < 60 else root.destroy()
tick(); root.mainloop(); sys.exit(39)
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answer_of(url: str) -> bytes | None:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())
    return None


class Kernel:
    """A notebook kernel of BENCH, at ports or (IPC) sockets that stay the same, as its line does."""

    def __init__(self, bench: Workbench, *, ipc: bool = False) -> None:
        self.bench, self.file = bench, bench.folder / "kernel.json"
        ports = range(1, 6) if ipc else [free_port() for _ in CHANNELS]
        values = {**dict(zip(CHANNELS, ports, strict=True)), "key": uuid.uuid4().hex, "kernel_name": ""}
        values |= (
            {"transport": "ipc", "ip": str(bench.folder / "k")} if ipc else {"transport": "tcp", "ip": "127.0.0.1"}
        )
        values["signature_scheme"] = "hmac-sha256"
        self.file.write_text(json.dumps(values))

    @property
    def words(self) -> list[str]:
        """The line that runs it."""
        return ["-i", "0", sys.executable, "-m", "ipykernel_launcher", "-f", str(self.file)]

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Give a client that is connected to the kernel."""
        from jupyter_client.blocking import BlockingKernelClient  # noqa: PLC0415 - see the test's skip

        client = BlockingKernelClient(connection_file=str(self.file))
        client.load_connection_file()
        client.start_channels()
        try:
            wait_until(lambda: is_ready(client))
            yield client
        finally:
            client.stop_channels()


def is_ready(client: Any) -> bool:
    # it calls a kernel that is still starting a dead one
    with suppress(RuntimeError):
        client.wait_for_ready(timeout=10)
        return True
    return False


def printed(client: Any, code: str) -> str:
    """Have the kernel run CODE, and return what that prints."""
    found: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            found.append(message["content"]["text"])

    client.execute_interactive(code, timeout=LONG_S, output_hook=keep)
    return "".join(found)


def test_a_server_that_listens_answers_after_a_resume(bench: Workbench) -> None:
    (bench.folder / "hello.txt").write_text("hello\n")
    port = free_port()
    words = ["-i", "0", sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    url = f"http://127.0.0.1:{port}/hello.txt"
    process = bench.start(*words)
    wait_until(lambda: answer_of(url) == b"hello\n")
    assert bench.ctl("checkpoint").returncode == 0
    kill_all(process)
    assert answer_of(url) is None
    process = bench.start(*words)
    bench.wait_said("resumed generation 1", process)
    wait_until(lambda: answer_of(url) == b"hello\n")
    bench.ctl("stop")
    assert process.wait(LONG_S) == CHECKPOINTED


def test_a_notebook_kernel_keeps_its_variables(bench: Workbench) -> None:
    pytest.importorskip("ipykernel")
    # over TCP it is connected to itself, and whoever is outside does not reach a network of its own
    kernel = Kernel(bench, ipc=bench.engine is not None and bench.engine.is_an_ordinary_users)
    process = bench.start(*kernel.words)
    with kernel.client() as client:
        assert printed(client, "x = 41; print(x)") == "41\n"
    wait_until(lambda: bench.ctl("checkpoint").returncode == 0)
    kill_all(process)
    process = bench.start(*kernel.words)
    with kernel.client() as client:
        assert printed(client, "x += 1; print(x)") == "42\n"
    assert "resumed generation 1" in bench.said()
    wait_until(lambda: bench.ctl("stop").returncode == 0)
    assert process.wait(LONG_S) == CHECKPOINTED


def test_a_client_of_a_kernel_that_would_be_cut_off_is_named_and_served(bench: Workbench) -> None:
    pytest.importorskip("ipykernel")
    kernel = Kernel(bench, ipc=True)
    process = bench.start(*kernel.words)
    with kernel.client() as client:
        assert printed(client, "x = 41; print(x)") == "41\n"
        done = bench.ctl("checkpoint")
        assert done.returncode == 1
        assert f"connected to {bench.folder}/k-" in done.stdout + done.stderr
        assert "(a Unix socket)" in done.stdout + done.stderr
        assert printed(client, "x += 1; print(x)") == "42\n"
    bench.ctl("stop")
    assert process.wait(LONG_S) == CHECKPOINTED


def test_a_program_with_a_window_goes_on_with_its_x_server(bench: Workbench) -> None:
    pytest.importorskip("tkinter")
    if not shutil.which("xvfb-run"):
        pytest.skip("there is no xvfb-run")
    (bench.folder / "window.py").write_text(WINDOW)
    words = ["-i", "0", "--stdout", "out.txt", "xvfb-run", "-a", sys.executable, "window.py"]
    process = bench.start(*words)
    bench.wait_lines(5, process)
    assert bench.ctl("checkpoint").returncode == 0
    bench.wait_lines(15, process)
    kill_all(process)
    done = bench.run(*words)
    assert done.returncode == 39, done.stderr
    assert "resumed generation 1" in done.stderr
    assert (bench.folder / "out.txt").read_text() == "".join(f"{count} True\n" for count in range(1, 61))
