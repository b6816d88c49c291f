"""criu's errors about what it cannot checkpoint or restore, as sentences about the program (4.1, 4.2)."""

from __future__ import annotations

import re

_KNOWN = (
    (
        re.compile(r"Can't lookup mount=\d+ for fd=(\d+) path=([^\s;]+)"),
        r"descriptor \1 (\2) is in a file system that is not mounted, which CRIU cannot checkpoint",
    ),
    (re.compile(r"Unseizable non-zombie \d+"), "a process is traced by another program, and no engine checkpoints it"),
    (
        re.compile(r"Can't dump nested (\w+) namespace"),
        r"a process is in its own \1 namespace, which no engine restores",
    ),
    (
        re.compile(r"Can't dump file \d+ of that type \[\d+\] \(unknown ([^)]+)\)"),
        r"the program has \1 open, which CRIU cannot checkpoint",
    ),
    (
        re.compile(r"Can't dump half of stream unix connection\. name: ([^\s;]+)"),
        r"the program is connected to \1 (a Unix socket), to a process outside the job; CRIU needs that to be closed",
    ),
    (
        re.compile(r"File ([^;]+?) has bad [^;]+"),
        r"/\1, which the program runs or has open, has changed since then, and CRIU resumes only with it as it was",
    ),
    (re.compile(r"No space left on device"), "no space is left for the images"),
    # unshare cannot end by the signal that ended its child
    (re.compile(r"sigprocmask unblock failed"), "the process that was to run criu was killed"),
)


def explained(errors: str) -> str | None:
    """Return what ERRORS that criu logged mean for the program; None if that is not known."""
    for pattern, sentence in _KNOWN:
        if found := pattern.search(errors):
            return found.expand(sentence)
    return None
