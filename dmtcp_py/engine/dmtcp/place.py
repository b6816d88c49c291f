"""What a computation under DMTCP needs around it: a private folder, a guard, a coordinator, an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.coordinator import Coordinator
from dmtcp_py.engine.dmtcp.installation import Installation, clean
from dmtcp_py.files import remove_tree
from dmtcp_py.process import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.engine import Launch, Restart

# messages of DMTCP's own belong in its log, not among the program's
_QUIET = ["--quiet", "--quiet"]


class Place:
    """What a computation needs around it: a private folder, a guard, a coordinator."""

    def __init__(self, dmtcp: Installation, order: Launch | Restart, fail_status: int) -> None:
        self.dmtcp = dmtcp
        self.folder, self.staging, self.fail_status = order.temporary, order.staging, fail_status
        plain = clean(order.environ)
        self.env = {
            **plain,
            "DMTCP_FAIL_RC": str(fail_status),
            "JALIB_STDERR_PATH": str(self.folder / "messages"),
        }
        self.guard = Guard(self.folder, plain)
        try:
            self.coordinator = Coordinator(dmtcp, plain, self.folder, self.staging)
        except BaseException:
            self.guard.dismiss()
            remove_tree(self.folder)
            raise

    def argv(self, tool: str, options: Sequence[str], what: Sequence[str]) -> list[str]:
        """Return the command line of TOOL for this coordinator."""
        join = ["--join-coordinator", *self.coordinator.address, "--tmpdir", str(self.folder)]
        return [self.dmtcp.tool(tool), *_QUIET, *join, *options, *what]

    def close(self) -> None:
        """Undo it all."""
        self.coordinator.stop()
        self.guard.dismiss()
        remove_tree(self.folder)
