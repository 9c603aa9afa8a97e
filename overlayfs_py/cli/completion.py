"""`overlayfs-py completion`."""

from __future__ import annotations

import click

from overlayfs_py.cli.shells import SHELLS, VARIABLE

_PROGRAM = "overlayfs-py"

_HELP = """Print a script that completes `overlayfs-py` on the TAB key.

\b
Examples:
  eval "$(overlayfs-py completion bash)"     # in ~/.bashrc
  eval "$(overlayfs-py completion zsh)"      # in ~/.zshrc, after compinit
  overlayfs-py completion fish > ~/.config/fish/completions/overlayfs-py.fish
"""


@click.command("completion", help=_HELP)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    completion = SHELLS[shell](context.find_root().command, {}, _PROGRAM, VARIABLE)
    click.echo(completion.source(), nl=False)
