"""`overlayfs-py completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "overlayfs-py"
_VARIABLE = "_OVERLAYFS_PY_COMPLETE"  # derived from the program's name, by click

_HELP = """Print a script that completes `overlayfs-py` on the TAB key.

\b
Examples:
  eval "$(overlayfs-py completion bash)"
  overlayfs-py completion fish > ~/.config/fish/completions/overlayfs-py.fish
"""


@click.command("completion", help=_HELP)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    completion = get_completion_class(shell)
    assert completion is not None  # click has all three
    click.echo(completion(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
