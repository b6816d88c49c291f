"""What a shell completes beyond the names of options: jobs, and programs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem, get_completion_class

from dmtcp_py.store.layout import jobs_in

if TYPE_CHECKING:
    import click

_MOST = 200


SHELLS = ("bash", "zsh", "fish")


def script(name: str, command: click.Command, shell: str) -> str:
    """Return what SHELL has to read so that it completes COMMAND, which is typed as NAME."""
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    made = kind(command, {}, name, f"_{name.replace('-', '_').upper()}_COMPLETE")
    # not its source(), which asks the bash of this machine for its version
    text: str = made.source_template % made.source_vars()
    return text.strip() + "\n"


def complete_job(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the jobs whose names begin with what was typed."""
    group = context.parent
    directory = group.params.get("directory") if group is not None else None
    names = [layout.name for layout in jobs_in(Path(directory or ".dmtcp-run"))]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_program(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the programs on PATH whose names begin with what was typed, and have the shell add files."""
    files = [CompletionItem(incomplete, type="file")]
    if not incomplete or "/" in incomplete or context.params.get(parameter.name or ""):
        return files
    # files first: bash forgets what came before them
    return [*files, *map(CompletionItem, _programs(incomplete))]


def _programs(beginning: str) -> list[str]:
    found: set[str] = set()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        with suppress(OSError):
            names = [name for name in os.listdir(folder or ".") if name.startswith(beginning)]  # noqa: PTH208 - names
            found |= {name for name in names if os.access(Path(folder, name), os.X_OK)}
    return sorted(found)[:_MOST]
