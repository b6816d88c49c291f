"""What engines print about their own failures becomes a sentence; a message that is not known stays as it is."""

from __future__ import annotations

import pytest

from dmtcp_py.engine.criu import reasons
from dmtcp_py.engine.dmtcp.assertions import explained

PROTECTED = (
    (
        "[2026-11-29T09:10:22.897, 40000, 40000, Error] at wrappers.cpp:477 in dup2; "
        "REASON='JASSERT(!DMTCP_IS_PROTECTED_FD(newfd)) failed; (*** Blocked attempt to dup2 into a protected fd"
    ),
    "ASSERT at wrappers.cpp:494: !DMTCP_IS_PROTECTED_FD(newfd): blocked attempt to dup2 into a protected fd; oldfd=0",
)
OWNER = (
    (
        "[2026-11-29T08:15:27.612, 40000, 40002, Error] at connection.cpp:80 in saveOptions; REASON='JASSERT("
        "_fcntlOwner != -1) failed; (_fcntlOwner = -1);    sleep: Terminating..."
    ),
    "ASSERT at plugin/connection.cpp:86: _fcntlOwner != -1: fcntl(F_GETOWN) failed: fd=3 flags=2097152 errno=9 (EBADF)",
)
OTHER = {
    "[2026-11-29T08:03:09.054, 40000, 40000, Error] at execwrappers.cpp:678 in fexecve; REASON='JASSERT(false) failed;"
    "Message: Not Implemented    envs: Terminating...": (
        "DMTCP gave up at execwrappers.cpp:678, where it expects false (Not Implemented)"
    ),
    "[2026-12-01T08:03:09.054, 40000, 40000, Error] at fileconnection.cpp:379 in refill; REASON='JASSERT(false) "
    "failed; (_path = /data/in.txt);    Message: File not found.    sim: Terminating...": (
        "DMTCP gave up at fileconnection.cpp:379, where it expects false (File not found.; _path = /data/in.txt)"
    ),
    "ASSERT at threadlist.cpp:12: next != nullptr: no thread": (
        "DMTCP gave up at threadlist.cpp:12, where it expects next != nullptr"
    ),
    "[2026-11-30T20:10:22.897, 40000, 40002, Error] at sysvipc.cpp:1154 in postRestart; REASON='JASSERT(_realId != -1) "
    "failed; (strerror((*__errno_location ())) = File exists);    program: Terminating...": (
        "DMTCP gave up at sysvipc.cpp:1154, where it expects _realId != -1 (File exists)"
    ),
    "ASSERT at svipc/sysvipc.cpp:1260: _realId != -1: msgget failed: errno=17 (EEXIST)": (
        "DMTCP gave up at svipc/sysvipc.cpp:1260, where it expects _realId != -1 (EEXIST)"
    ),
    "*** ERROR: a descriptor would be lost": "*** ERROR: a descriptor would be lost",
}
CRIU = {
    "(criu/files-reg.c:1790): Can't lookup mount=68 for fd=3 path=/case06-21236; (criu/cr-dump.c:1545): Dump files (pid"
    ": 21236) failed with -1": "descriptor 3 (/case06-21236) is in a file system that is not mounted",
    "(compel/src/lib/infect.c:262): Unseizable non-zombie 2548 found, state S, err -1/10": "traced by another program",
    "unshare: sigprocmask unblock failed: Invalid argument": "the process that was to run criu was killed",
    "(criu/namespaces.c:460): Can't dump nested uts namespace for 3234": "a process is in its own uts namespace",
}


@pytest.mark.parametrize("message", PROTECTED)
def test_a_descriptor_in_dmtcps_range_is_named_with_the_engine_that_handles_it(message: str) -> None:
    assert "a descriptor number from 821 to 841" in explained(message)
    assert "--engine criu can checkpoint it" in explained(message)


@pytest.mark.parametrize("message", OWNER)
def test_a_descriptor_without_options_is_named(message: str) -> None:
    assert "as after open(O_PATH)" in explained(message)


@pytest.mark.parametrize(("message", "sentence"), OTHER.items())
def test_what_is_not_known_is_only_made_short(message: str, sentence: str) -> None:
    assert explained(message) == sentence


@pytest.mark.parametrize(("errors", "part"), CRIU.items())
def test_errors_of_criu_become_one_sentence(errors: str, part: str) -> None:
    found = reasons.explained(errors)
    assert found is not None
    assert part in found
    assert "(criu/" not in found


def test_an_error_of_criu_that_is_not_known_is_left_to_the_caller() -> None:
    assert reasons.explained("(criu/sk-inet.c:1): something else") is None
