"""What a computation under DMTCP needs: a private folder, a guard, a coordinator, an environment."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp import audit
from dmtcp_py.engine.dmtcp.coordinator import COLOUR, LOCALHOST, Coordinator
from dmtcp_py.engine.dmtcp.installation import Installation, clean
from dmtcp_py.engine.dmtcp.state_files import write_processors
from dmtcp_py.errors import CheckpointFailedError
from dmtcp_py.system.child import Guard
from dmtcp_py.system.files import make_private_dir, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.engine.dmtcp.nodes.agents import NodeAgents
    from dmtcp_py.engine.protocol import Launch, Restart

# DMTCP's messages belong in its log, and not in the program's output
_QUIET = ["--quiet", "--quiet"]
_MAX_CHARS = 300
HOLD_SENDING = "hold-sending"
"""The file for whose removal native/sent.c waits before it sends a descriptor."""
HOLD_STARTS = "hold-starts"
"""The file for whose removal native/forks.c waits before it starts a process."""
_FIRST_NUMBER = "first-number"
"""The file with what native/numbers.c adds to the numbers of new processes."""
_NUMBERS = 1_000_000
"""How many numbers the coordinator has for processes (4.2, 5.0)."""
_LIVES = 1000
"""So many times as many are less than 2**30, up to which locks can have the number of their owner (futex(2))."""


class Workspace:
    """What a computation needs: a private folder, a guard, a coordinator, agents on its other nodes."""

    def __init__(self, dmtcp: Installation, order: Launch | Restart, fail_status: int) -> None:
        self.dmtcp = dmtcp
        self.folder, self.staging, self.fail_status = order.temporary, order.staging, fail_status
        self.undo = order.undo
        plain = clean(order.environ)
        self.nodes: NodeAgents | None = None
        self.guard = Guard(self.folder, plain)
        try:
            if order.nodes is not None:
                from dmtcp_py.engine.dmtcp.nodes.agents import NodeAgents  # noqa: PLC0415 - only for several nodes

                self.nodes = NodeAgents(order.nodes, plain, self.folder)
                plain |= self.nodes.settings()
            self.coordinator = Coordinator(
                dmtcp,
                plain,
                self.folder,
                self.staging,
                host=self.nodes.address if self.nodes else LOCALHOST,
                asks=self.nodes.peers.fileno() if self.nodes else None,
            )
        except BaseException:
            self.guard.dismiss()
            if self.nodes:
                self.nodes.close()
            remove_tree(self.folder)
            raise
        self._plain = plain
        write_processors(self.folder)

    @property
    def count(self) -> int:
        """How many nodes the computation has."""
        return self.nodes.count if self.nodes else 1

    def image_folder(self, index: int) -> Path:
        """Return where node INDEX writes its images."""
        return self.staging / str(index) if self.nodes else self.staging

    def empty_staging(self) -> None:
        """Make room for the images of the next checkpoint; raise CheckpointFailedError if images are being written."""
        try:
            remove_tree(self.staging)
            make_private_dir(self.staging)
            self.make_image_folders()
            audit.forget(self.folder)
        except OSError as error:
            raise CheckpointFailedError(
                f"another dmtcp_command's checkpoint is being written to {self.staging} ({error.strerror})",
                "do not run dmtcp_command for this program",
                program_lives=True,
            ) from error

    def set_first_number(self, generation: int) -> None:
        """Have new processes on this node get numbers that none had before the restart of GENERATION."""
        first = generation % _LIVES * _NUMBERS
        (self.folder / _FIRST_NUMBER).write_text(f"{first}\n", encoding="ascii")

    def make_image_folders(self) -> None:
        """Make a folder for the images of each node, if there are several."""
        for index in range(self.count if self.nodes else 0):
            make_private_dir(self.image_folder(index))

    def argv(self, tool: str, options: Sequence[str], words: Sequence[str], index: int = 0) -> list[str]:
        """Return the command line of TOOL for this coordinator on node INDEX."""
        folder = self.nodes.folder(index) if self.nodes and index else str(self.folder)
        join = ["--join-coordinator", *self.coordinator.address, "--tmpdir", folder]
        images = ["--ckptdir", str(self.image_folder(index))]
        return [self.dmtcp.tool(tool), *_QUIET, *join, *images, *options, *words]

    def environ(self, index: int = 0) -> dict[str, str]:
        """Return the environment of DMTCP's tools on node INDEX."""
        folder = self.nodes.folder(index) if self.nodes and index else str(self.folder)
        plain = self.nodes.environ(index, self._plain) if self.nodes else self._plain
        return {
            **plain,
            "DMTCP_FAIL_RC": str(self.fail_status),
            "JALIB_STDERR_PATH": f"{folder}/messages",
        }

    def failure_message(self) -> str | None:
        """Return DMTCP's message about its failure; None if it has not failed."""
        # DMTCP's processes make and remove folders there
        found = [Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names]
        for path in sorted(found):
            if (path.name == "messages" or path.suffix == ".log") and path.is_file():
                for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    line = re.sub(COLOUR, "", raw).strip()
                    if line.startswith(("ASSERT at", "*** ERROR")) or ", Error]" in line:
                        return line[:_MAX_CHARS]
        return None

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep the program's processes on this node from what waits for the removal of a file NAME (native/forks.c)."""
        path = self.folder / name
        path.touch()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop all of it and remove the folder."""
        if self.nodes:
            self.nodes.close()
        self.coordinator.stop()
        self.guard.dismiss()
        remove_tree(self.folder)
