"""``dmtcp-ctl completion``."""

from __future__ import annotations

import click

from dmtcp_py.cli.completion import SHELLS, script
from dmtcp_py.cli.run import command as run

_EXAMPLES = """\
\b
Examples:
  eval "$(dmtcp-ctl completion bash)"       in ~/.bashrc
  eval "$(dmtcp-ctl completion zsh)"        in ~/.zshrc
  dmtcp-ctl completion fish | source        in ~/.config/fish/config.fish
"""


@click.command("completion", epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what completes options, jobs and programs in your shell."""
    for name, one in (("dmtcp-run", run), ("dmtcp-ctl", context.find_root().command)):
        click.echo(script(name, one, shell), nl=False)
