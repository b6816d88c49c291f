"""Options that are impossible are refused before anything is done, from the command line and from Python alike."""

from __future__ import annotations

from typing import Any

import pytest

import dmtcp_py
from dmtcp_py.errors import UsageError


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": 0}, "--keep must be at least 1, not 0"),
        ({"generation": 0}, "--generation must be at least 1"),
        ({"checkpointed_status": 256}, "--checkpointed-status must be between 0 and 255, not 256"),
        ({"time_limit": 0.0}, "--time-limit must be longer than 0"),
        ({"lead": -1.0}, "--lead must be at least 0"),
        ({"time_limit": "soon"}, "'soon' is not a duration"),
        ({"interval": -1}, "interval must be at least 0, not -1"),
        ({"interval": True}, "interval must be a number of seconds or a text such as '15m', not True"),
        ({"interval_s": 5}, "dmtcp_py.run has no option 'interval_s'"),
        ({"at_limit": "continue"}, "--at-limit must be one of requeue, resubmit, exit"),
        ({"gate_then": "stop"}, "--gate-then must be one of wait, exit, not 'stop'"),
        ({"gate_every": 0}, "--gate-every must be at least 1, not 0"),
        ({"nodes": "2"}, "--nodes must be one of auto, 1"),
        ({"network": "none"}, "--network must be one of host, own"),
        ({"network": "own", "nodes": "auto"}, "--network own cannot be used with --nodes auto"),
        ({"fresh": True, "resume_only": True}, "--fresh cannot be used with"),
        ({"fresh": True, "generation": 1}, "--fresh cannot be used with"),
        ({"array_chain": True, "at_limit": "resubmit"}, "--array-chain cannot be used with"),
    ],
)
def test_an_impossible_option_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        dmtcp_py.run(["true"], **options)


@pytest.mark.parametrize("command", [[], "true", [b"true"]])
def test_a_command_that_is_no_list_of_texts_is_refused(command: Any) -> None:
    with pytest.raises(UsageError, match="a program and its arguments"):
        dmtcp_py.run(command)
