"""Every line that dmtcp-run prints in the life of a job that is killed, stopped, resumed and finished."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    import subprocess

    from kit.bench import Workbench
    from kit.engines import EngineHere

STEPS = 200
"""So many that there are some left after each checkpoint on a slow machine; the program ends when it may."""
FIRST = "more follow silently"
"""In the line about the first generation of an attempt."""

_VALUES = (
    (r"generation \d+", "generation N"),
    (r"\d[\d.]* [kM]B", "SIZE"),
    (r"\d[\d.]*s \+ \d[\d.]*s", "PAUSE + WRITING"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE"),
)


def said(text: str, engine: EngineHere) -> list[str]:
    """Return the lines of dmtcp-run in TEXT, with words for what differs from run to run."""
    for pattern, word in _VALUES:
        text = re.sub(pattern, word, text)
    text = text.replace(f"{engine.name} {engine.version}", "ENGINE")
    return [line.removeprefix("dmtcp-run: ") for line in text.splitlines() if line.startswith("dmtcp-run: ")]


def wait_first(bench: Workbench, process: subprocess.Popen[bytes], count: int, name: str | None = None) -> None:
    """Wait until the line about the first generation of an attempt has come COUNT times, or PROCESS has ended."""
    wait_until(lambda: bench.said(name).count(FIRST) == count or process.poll() is not None)


def test_the_life_of_a_job_is_a_few_lines(bench: Workbench, one_of_each: EngineHere) -> None:
    line = ["--job", "demo", "-i", "1", "--stdout", "out.txt", *bench.counting(STEPS, until="go")]
    process = bench.start(*line)
    bench.wait_generations(2, process)
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    process = bench.start(*line)
    wait_first(bench, process, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    (bench.folder / "go").touch()
    assert bench.start("-i", "0", *line[:2], *line[4:]).wait(LONG_S) == 0
    set_aside = str(bench.job / "set-aside").replace(str(bench.folder), "HERE")
    assert said(bench.said().replace(str(bench.folder), "HERE"), one_of_each) == [
        "job demo: started with ENGINE (new); first checkpoint after 1s",
        "generation N committed (interval, SIZE, PAUSE + WRITING); more follow silently, every 1s",
        f"cut off what was written to HERE/out.txt after the checkpoint; it is in {set_aside}",
        "job demo: resumed generation N of DATE UTC with ENGINE",
        "generation N committed (interval, SIZE, PAUSE + WRITING); more follow silently, every 1s",
        "SIGTERM: taking the last checkpoint",
        "generation N committed (SIGTERM, SIZE, PAUSE + WRITING)",
        "checkpointed and stopped; the same line resumes from generation N",
        "job demo: resumed generation N of DATE UTC with ENGINE",
        "finished with status 0",
    ]


def redirected(bench: Workbench, flags: int, interval: str = "1") -> subprocess.Popen[bytes]:
    """Start the line with ``> out 2> err``, or with ``>>``, as FLAGS say, and this INTERVAL."""
    fds = [os.open(bench.folder / name, os.O_WRONLY | os.O_CREAT | flags, 0o644) for name in ("out", "err")]
    try:
        return bench.start(
            "--job", "demo", "-i", interval, *bench.counting(STEPS, until="go"), stdout=fds[0], stderr=fds[1]
        )
    finally:
        for fd in fds:
            os.close(fd)


def test_what_is_so_at_each_resume_is_said_once(bench: Workbench, one_engine: EngineHere) -> None:
    lines = []
    for flags in (os.O_TRUNC, os.O_APPEND, os.O_APPEND):
        before = len(bench.said("err"))
        process = redirected(bench, flags)
        wait_first(bench, process, len(lines) + 1, "err")
        bench.wait_beyond_checkpoint(process, lambda: bench.said("out"))
        kill_all(process)
        lines.append(said(bench.said("err")[before:].replace(str(bench.folder), "HERE"), one_engine))
    before = len(bench.said("err"))
    (bench.folder / "go").touch()
    assert redirected(bench, os.O_APPEND, interval="0").wait(LONG_S) == 0
    lines.append(said(bench.said("err")[before:], one_engine))
    emptied = "stdout is HERE/out and stderr is HERE/err, which '>' empties when this line resumes; "
    committed = "generation N committed (interval, SIZE, PAUSE + WRITING); more follow silently, every 1s"
    assert lines == [
        [
            "job demo: started with ENGINE (new); first checkpoint after 1s",
            f"{emptied}use --stdout FILE and --stderr FILE (exact) or '>>'",
            committed,
        ],
        [
            "job demo: resumed generation N of DATE UTC with ENGINE",
            "what the program wrote to stdout since generation N will be repeated; --stdout FILE keeps it exact",
            committed,
        ],
        ["job demo: resumed generation N of DATE UTC with ENGINE", committed],
        ["job demo: resumed generation N of DATE UTC with ENGINE", "finished with status 0"],
    ]
