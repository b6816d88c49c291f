"""``dmtcp-ctl setup``: install an engine, with the package managers that this machine has.

The system is changed only if the user agrees. If not, a private copy of CRIU is all that is installed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from dmtcp_py.engine import package_managers as packages
from dmtcp_py.engine.criu import private_copy as private
from dmtcp_py.engine.criu.installation import private_prefix
from dmtcp_py.engine.criu.privileges import is_root, make_setpriv_copy, missing_capabilities, missing_privilege
from dmtcp_py.engine.probe import EngineState, engine_state
from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine.package_managers import Offer

    Say = Callable[[str], None]
    Agree = Callable[[Offer], bool]

_DMTCP, _CRIU = "dmtcp", "criu"
_BREAKING_KERNEL, _FIXED_CRIU = (6, 13), (4, 1)
"""CRIU before 4.1 fails its check on kernels from 6.13 on (vdso: Unexpected rt vDSO area bounds)."""


class Result(Struct):
    """The engines as they are now, the packages on offer, and what was installed or removed."""

    states: list[EngineState] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether one of the requested engines works now."""
        return any(state.works for state in self.states)

    @property
    def lines(self) -> list[str]:
        """The lines to print at the end."""
        if self.works:
            states = [f"{state.engine} {state.description}" for state in self.states if state.works]
            ready = "ready; next, try your program: dmtcp-ctl rehearse -- ./program args"
            return [*self.done, *states, ready]
        states = [f"{state.engine}: {state.description}" for state in self.states]
        offered = "; or ".join(offer.line for offer in self.offers)
        return [*self.done, *states, *([f"to install one, run: {offered}"] if offered else [])]

    @property
    def row(self) -> dict[str, Any]:
        """The fields for JSON."""
        offered = [{"manager": offer.manager, "package": offer.package, "line": offer.line} for offer in self.offers]
        return {"engines": [state.row for state in self.states], "offers": offered, "done": self.done}


def set_up(engine: str | None, *, agree: Agree, say: Say) -> Result:
    """Install ENGINE, or if it is None DMTCP and failing that CRIU; AGREE is called before a package manager runs.

    Raises EngineError if fetching a private copy of CRIU fails; that leaves no trace.
    """
    result = Result()
    for name in [engine] if engine else [_DMTCP, _CRIU]:
        result.states.append(engine_state(name))
        if result.works:
            break
    if engine != _CRIU and not result.works:
        _install_dmtcp(result, agree, say)
    if engine != _DMTCP and not result.works:
        _install_criu(result, agree, say)
    if engine == _CRIU and result.works:
        _prepare_privileges(result)
    return result


def remove(say: Say) -> Result:
    """Remove what `set_up` installed without a package manager."""
    result = Result()
    for path in private.remove():
        result.done.append(f"removed {path}")
        say(result.done[-1])
    return result


def _install_dmtcp(result: Result, agree: Agree, say: Say) -> None:
    offers = packages.offers(_DMTCP, os.environ, say)
    result.offers += offers
    if not offers:
        say("no package manager here has DMTCP")
    for offer in offers:
        if _run_offer(offer, result, agree, say):
            _check_again(_DMTCP, result)
            return


def _install_criu(result: Result, agree: Agree, say: Say) -> None:
    state = next(state for state in result.states if state.engine == _CRIU)
    if is_root() and missing_capabilities():
        raise EngineError(f"CRIU cannot work here: {missing_privilege()}")
    if state.version is None:
        for offer in _criu_offers(say):
            result.offers.append(offer)
            if _run_offer(offer, result, agree, say):
                state = _check_again(_CRIU, result)
                break
    if state.works:
        return
    if not (private_prefix() / "criu").is_file() and (state.version is None or state.is_other_worth_a_try):
        found = private.fetch(say)
        result.done.append(f"installed CRIU {found.version} in {private_prefix()}")
    if not _check_again(_CRIU, result).works:
        _prepare_privileges(result)
        _check_again(_CRIU, result)


def _prepare_privileges(result: Result) -> None:
    if missing_capabilities() and not is_root() and make_setpriv_copy():
        result.done.append("made a copy of setpriv, to which an administrator can grant capabilities")


def _criu_offers(say: Say) -> list[Offer]:
    offers = packages.offers(_CRIU, os.environ, say)
    version = packages.version_of(_CRIU) if any(offer.manager == "apt-get" for offer in offers) else None
    if version and _numbers(version) < _FIXED_CRIU and _numbers(os.uname().release) >= _BREAKING_KERNEL:
        say(f"this system's CRIU {version} does not work on kernels from 6.13 on, and this one is {os.uname().release}")
        return [offer for offer in offers if offer.manager != "apt-get"]
    return offers


def _run_offer(offer: Offer, result: Result, agree: Agree, say: Say) -> bool:
    say(f"{offer.manager} has {offer.package}: {offer.line}")
    if not offer.can_run or not agree(offer):
        return False
    try:
        packages.run(offer)
    except EngineError as error:
        say(str(error))
        return False
    result.done.append(f"ran {offer.line}" if not offer.then else f"ran {offer.manager}; now type: {offer.then}")
    return True


def _check_again(name: str, result: Result) -> EngineState:
    state = engine_state(name)
    result.states = [state if old.engine == name else old for old in result.states]
    return state


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
