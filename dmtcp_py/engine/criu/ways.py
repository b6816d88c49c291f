"""The ways in which CRIU runs: as root, with capabilities that an administrator granted, in a user namespace.

A way is a value: how its namespaces are entered, what criu is given, what is refused. Nothing else asks which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.engine.criu import privileges
from dmtcp_py.engine.criu.inside import refusals
from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.engine.criu.inside.user_namespace import OWN_NETWORK
from dmtcp_py.errors import EngineError
from dmtcp_py.native import built
from dmtcp_py.system.proc import process_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dmtcp_py.engine.criu.inside.refusal import Refusal

ROOT, CAPABILITIES, USER_NAMESPACE = "as root", "with capabilities", "in a user namespace"
_ALWAYS_REFUSED = (
    refusals.ENDED,
    refusals.RENAMED,
    refusals.UNDONE,
    refusals.OF_THREAD,
    refusals.MEMFD,
    refusals.TERMINALS,
    refusals.LIMITS,
)
_UNPRIVILEGED = ("--unprivileged",)
_NAMESPACES = ("--pid", "--mount", "--propagation", "slave", "--fork", "--kill-child=KILL", "--mount-proc")


class Way(Struct, frozen=True):
    """A way of running CRIU; NAME continues "CRIU works"."""

    name: str
    enter: tuple[str, ...] = ()
    """The words before the command that makes the namespaces."""
    options: tuple[str, ...] = ()
    """The options that each call of criu needs."""
    library: Path | None = None
    """The library to load into criu."""
    has_own_ipc: bool = False
    """Whether the program gets an IPC namespace, without which criu dumps no System V objects."""
    restores_clocks: bool = True
    """Whether criu restores clocks; otherwise `enter` takes the folder of the images as one more word."""
    refused: tuple[str, ...] = _ALWAYS_REFUSED
    """What is refused, see `dmtcp_py.engine.criu.inside.refusals`."""
    to_own_network: tuple[str, ...] = ()
    """The words that `enter` takes besides for a network of the program's own."""
    addresses: tuple[str, ...] | None = None
    """The addresses in a network of the program's own, beside that of loopback; None in the host's network."""

    @property
    def words(self) -> str:
        """What a user reads of it; continues "CRIU runs"."""
        return self.name if self.addresses is None else f"{self.name}, with a network of the program's own"

    @property
    def takes_connections(self) -> bool:
        """Whether it checkpoints TCP connections."""
        return refusals.TCP not in self.refused

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The options of unshare(1)."""
        return _NAMESPACES if self.addresses is None else (*_NAMESPACES, "--net")

    def in_own_network(self, addresses: Sequence[str]) -> Way:
        """Return this way with a network of the program's own, which has ADDRESSES beside that of loopback."""
        return replace(
            self,
            enter=(*self.enter, *self.to_own_network),
            addresses=tuple(addresses),
            refused=tuple(name for name in self.refused if name != refusals.TCP),
        )

    def entering(self, images: Path | None) -> tuple[str, ...]:
        """Return the words before the command that makes the namespaces; IMAGES are those to restore."""
        if self.restores_clocks:
            return self.enter
        return (*self.enter, str(images or ""))

    def criu(self, path: Path, *libraries: Path | None) -> list[str]:
        """Return the words that run the criu at PATH, with this way's library and LIBRARIES loaded into it alone."""
        loaded = [str(library) for library in (self.library, *libraries) if library is not None]
        return ["/usr/bin/env", f"LD_PRELOAD={':'.join(loaded)}", str(path)] if loaded else [str(path)]

    @property
    def refused_while_frozen(self) -> tuple[str, ...]:
        """What criu would not notice, so that it has to be looked for while nothing can change it."""
        return tuple(name for name in self.refused if name in refusals.UNNOTICED)

    def refusal(self, init: int) -> Refusal | None:
        """Return why the processes from INIT on, seen from outside, cannot be checkpointed; None if they can."""
        seen = [name for name in self.refused if name not in refusals.FROZEN_ONLY]
        if not seen:
            return None
        return refusals.first([pid for pid, _ in process_tree(init)], seen)


def possible() -> list[Way]:
    """Return the ways that there are for this user, the preferred one first."""
    if privileges.is_root():
        return [Way(name=ROOT, has_own_ipc=True)]
    return [_with_capabilities(), _in_user_namespace()]


def named(name: str) -> Way:
    """Return the way that made a generation; raise EngineError if this user does not have it."""
    ways = possible()
    found = next((way for way in ways if way.name == name), None)
    if found is None:
        raise EngineError(
            f"the generation was made by a CRIU that ran {name}, and this user's runs {ways[0].name}",
            "resume it as the user who started the job",
        )
    return found


def _with_capabilities() -> Way:
    clocks = inside_argv("engine.criu.inside.clocks")
    return Way(
        name=CAPABILITIES,
        enter=(*privileges.launcher(), *clocks),
        options=_UNPRIVILEGED,
        restores_clocks=False,
        refused=(*_ALWAYS_REFUSED, refusals.DESCRIPTORS),
    )


def _in_user_namespace() -> Way:
    library = built("userns")
    own = (refusals.SECCOMP, refusals.HIDDEN, refusals.TCP, refusals.WATCHES, refusals.DESCRIPTORS)
    always = (*own, *_ALWAYS_REFUSED)
    return Way(
        name=USER_NAMESPACE,
        enter=tuple(inside_argv("engine.criu.inside.user_namespace")),
        options=_UNPRIVILEGED,
        library=library,
        has_own_ipc=library is not None,
        restores_clocks=False,
        to_own_network=(OWN_NETWORK,),
        refused=(*always, refusals.SYSV_IDS if library else refusals.NAMELESS_MEMORY),
    )
