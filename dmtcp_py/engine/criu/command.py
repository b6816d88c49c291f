"""criu's command lines, and the reasons that it logs for a failure."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.native import built
from dmtcp_py.system.files import PRIVATE_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dmtcp_py.engine.criu.installation import Installation
    from dmtcp_py.engine.criu.ways import Way

COMMON = (
    "-v4",
    "--file-locks",
    "--ext-unix-sk",
    "--tcp-established",
    "--link-remap",
    "--ghost-limit=256M",
    "--network-lock=skip",
)
_FREEZE_S = 60
NO_REASON = "it gave no reason"
_MOST_REASONS = 3
_MOST_CHARS = 400
_HARMLESS = ("RLIMIT_NOFILE", "kdat cache")


class Tool(Struct, frozen=True):
    """A criu, and the folder for its logs and its output."""

    criu: Installation
    way: Way
    environ: Mapping[str, str]
    temporary: Path
    covers_shm: bool
    undo: Path | None = None

    def output(self, action: str) -> Path:
        """Return the file for its output."""
        return self.temporary / f"{action}.out"

    @property
    def lost(self) -> Path:
        """The file for what could not be put back at a restore."""
        return self.temporary / "lost"

    def log(self, action: str) -> Path:
        """Return its log file."""
        return self.temporary / f"{action}.log"


def dump_argv(tool: Tool, images: Path, *, then_stop: bool) -> list[str]:
    """Return the command that dumps a tree of processes; the keeper adds the tree and the external descriptors."""
    refused = ",".join(tool.way.refused_while_frozen)
    facts = (str(int(not then_stop)), str(int(tool.covers_shm)), str(tool.undo or ""))
    words = inside_argv("engine.criu.inside.frozen", refused, *facts)
    script = _action_script(tool, "post-dump", words)
    running = [] if then_stop else ["--leave-running"]
    # with the libraries that have interrupted calls begin again, and stopped processes stop before others go on
    return [
        *_argv(tool, "dump", images, built("calls"), built("stops")),
        *running,
        "--timeout",
        str(_FREEZE_S),
        *script,
    ]


def restore_argv(tool: Tool, images: Path) -> list[str]:
    """Return the command that restores a tree as the caller's child; the keeper adds the descriptors to inherit."""
    first = inside_argv("engine.tcp_ports", str(images))
    script = _action_script(tool, "pre-resume", inside_argv("engine.criu.inside.attributes", str(tool.lost)))
    return [*first, *_argv(tool, "restore", images, built("stops")), "--restore-detached", "--restore-sibling", *script]


def failure_in(tool: Tool, action: str) -> str:
    """Return why ACTION failed: the first errors that criu logged, as later ones follow from them.

    If a script of ours failed, its last line says why.
    """
    logged, said = _lines(tool.log(action)), _lines(tool.output(action))
    errors = [line for line in (*logged, *said) if "Error (" in line and not any(word in line for word in _HARMLESS)]
    if any("action-scripts" in line for line in errors):
        errors = said[-1:] or errors
    reasons = [line.partition("Error ")[2].strip() if "Error (" in line else line for line in errors or said[:1]]
    return "; ".join(dict.fromkeys(reasons[:_MOST_REASONS]))[:_MOST_CHARS] or NO_REASON


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _action_script(tool: Tool, action: str, words: list[str]) -> list[str]:
    """Have criu run WORDS at ACTION; it runs the script at each of its steps, so only a shell starts at the others.

    What is loaded into criu is not for its scripts.
    """
    script = tool.temporary / f"{action}.sh"
    text = f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = {action} ] || exit 0\nunset LD_PRELOAD\nexec {shlex.join(words)}\n'
    script.write_bytes(os.fsencode(text))
    script.chmod(PRIVATE_DIR)
    return ["--action-script", str(script)]


def _argv(tool: Tool, action: str, images: Path, *libraries: Path | None) -> list[str]:
    places = ["--images-dir", str(images), "--work-dir", str(tool.temporary), "--log-file", tool.log(action).name]
    return [*tool.way.criu(tool.criu.path, *libraries), action, *places, *COMMON, *tool.way.options]
