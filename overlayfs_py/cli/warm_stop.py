"""`overlayfs-py warm stop`."""

from __future__ import annotations

import click

from overlayfs_py.cli import warm_place, warm_process

_HELP = """Have the process take no more commands, and end with the last that runs.

\b
Examples:
  overlayfs-py warm stop
"""


@click.command("stop", help=_HELP)
def command() -> None:
    path = warm_place.socket_path()
    running = None if path is None else warm_process.stop(path)
    if running is None:
        click.echo("There is none.", err=True)
    elif running:
        click.echo(f"It ends with the commands that run: {running}.", err=True)
