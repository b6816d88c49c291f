"""dmtcp-run without its plugins, and without what it puts back itself: python bare.py dmtcp-run's words.

So it can be seen what an engine keeps of itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.cli import run
from dmtcp_py.engine import quirks
from dmtcp_py.engine.criu import engine as criu_engine
from dmtcp_py.engine.criu.ways import Way

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine.criu.command import Tool


def main() -> None:
    """Leave out what is ours, and be dmtcp-run."""
    quirks.QUIRKS = tuple(quirk for quirk in quirks.QUIRKS if not quirk.plugin)
    restore_argv, entering = criu_engine.restore_argv, Way.entering

    def without_script(tool: Tool, images: Path) -> list[str]:
        argv = restore_argv(tool, images)
        return argv[: argv.index("--action-script")]

    def without_clocks(way: Way, _images: Path | None) -> tuple[str, ...]:
        return entering(way, None)

    criu_engine.restore_argv = without_script
    Way.entering = without_clocks  # type: ignore[method-assign]
    run.main()


if __name__ == "__main__":
    main()
