"""DMTCP's messages about its own failures, as sentences about the program. The messages of 3.2, 4.2 and 5.0 differ."""

from __future__ import annotations

import re

from dmtcp_py.engine.dmtcp.obstacles import USE_CRIU

_KNOWN = (
    (
        r"!\s*DMTCP_IS_PROTECTED_FD",
        f"the program uses a descriptor number from 821 to 841, which DMTCP has for its own; {USE_CRIU}",
    ),
    (
        r"_fcntlOwner",
        f"the program has a descriptor whose options DMTCP cannot read, as after open(O_PATH); {USE_CRIU}",
    ),
    (r"ckptfd >= 0", "the program has a FIFO open whose name is gone, which DMTCP cannot checkpoint"),
    (r"Unimplemented file type", "the program has a file open of a kind that DMTCP does not know"),
    (r"No space left on device", "no space was left for the images"),
    (
        r"should not be run under ckpt control",
        "the program runs DMTCP itself, which does not run under DMTCP; leave dmtcp_launch out of its command",
    ),
)
"""Texts in messages, and what they mean; CRIU is named where it was seen to handle the program."""
_ASSERTION = r"at (?P<where>\S+:\d+)(?: in (?P<function>\S+?);)?.*?ASSERT\((?P<condition>.+?)\) failed"
_ASSERTION_OF_5 = r"ASSERT at (?P<where>\S+:\d+): (?P<condition>[^:]+)"
_VALUE = r"\((?P<name>\w+) = (?P<value>[^()]+)\)"
_REASON = r"Message: (?P<words>.+?)(?:    |$)"
_ERRNO = r"strerror\(.*?\) = (?P<words>[^()]+)\)|errno=\d+ \((?P<name>\w+)\)"


def explained(message: str) -> str:
    """Return what MESSAGE of DMTCP means for the program, or the assertion in it; MESSAGE itself if it has none."""
    for pattern, sentence in _KNOWN:
        if re.search(pattern, message):
            return sentence
    found = re.search(_ASSERTION, message) or re.search(_ASSERTION_OF_5, message)
    if found is None:
        return message
    reason, errno = re.search(_REASON, message), re.search(_ERRNO, message)
    said = [reason["words"].strip()] if reason else []
    said += [f"{name} = {value}" for name, value in re.findall(_VALUE, message)]
    said += [errno["words"] or errno["name"]] if errno else []
    text = f"DMTCP gave up at {found['where']}, where it expects {found['condition']}"
    return f"{text} ({'; '.join(said)})" if said else text
