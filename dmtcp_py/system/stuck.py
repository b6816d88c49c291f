"""What processes that do not get on wait for, as far as the kernel shows that to this user. Only reads."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dmtcp_py.system.proc import name_of, process_tree, state_of

_MOST_NAMED = 3
_UNINTERRUPTIBLE = "D"
_FOR_CHILDREN = "do_wait"


def what_they_wait_in(root: int) -> str:
    """Return which of the living processes ROOT and below wait in what, in words.

    Those come first that no signal wakes, and those last that wait for their children.
    """
    waits = {pid: _functions(pid) for pid, _ in process_tree(root)}
    order = sorted(waits, key=lambda pid: (state_of(pid) != _UNINTERRUPTIBLE, waits[pid] == [_FOR_CHILDREN], pid))
    texts = [f"{name_of(pid)} (pid {pid}) waits in {', '.join(waits[pid]) or 'nothing'}" for pid in order]
    more = [f"{len(texts) - _MOST_NAMED} more"] if len(texts) > _MOST_NAMED else []
    return "; ".join([*texts[:_MOST_NAMED], *more])


def _functions(pid: int) -> list[str]:
    """Return the functions of the kernel in which the threads of process PID wait, each once, in the same order."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - only names are needed
            with suppress(OSError):
                function = _function(Path(f"/proc/{pid}/task/{name}"))
                if function is not None:
                    found.add((state_of(int(name)) != _UNINTERRUPTIBLE, function))
    return [function for _, function in sorted(found)]


def _function(thread: Path) -> str | None:
    """Return the function in which THREAD waits, or the number of its system call; None if it computes."""
    function = (thread / "wchan").read_text(encoding="ascii", errors="replace").partition(".")[0]
    if function not in {"", "0"}:
        return function
    call = (thread / "syscall").read_text(encoding="ascii", errors="replace").split()[0]
    return f"system call {call}" if call.isdecimal() else None
