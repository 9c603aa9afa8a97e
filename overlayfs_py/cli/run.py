"""`overlayfs-py run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from overlayfs_py.cli.container_arguments import detach_keys_option, parsed_keys
from overlayfs_py.cli.container_options import SETTINGS, CreateOptions, container_options
from overlayfs_py.cli.create import made
from overlayfs_py.mounts.daemon import open_descriptors

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Make a container of IMAGE and run CMD, or the image's own command, in it.

Its changes go to a thin layer of its own, which stays until `rm`, or with --rm until it ends.
Volumes stay. Exit codes are docker's: 125 if it cannot be started, 126 if CMD cannot be run, 127
if it is not there, otherwise its own, 128 + n after signal n.

\b
Examples:
  overlayfs-py run --rm debian:12 cat /etc/os-release
  overlayfs-py run -it --name work debian:12 bash
  overlayfs-py run -d --name db -v data:/var/lib/postgresql/data postgres:16
"""


@click.command("run", help=_HELP, context_settings=SETTINGS)
@click.option("-d", "--detach", is_flag=True, help="Leave it in the background; print its ID.")
@click.option(
    "-a",
    "--attach",
    "attached",
    multiple=True,
    metavar="STREAM",
    help="Of stdin, stdout and stderr those alone that are named.",
)
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to it.")
@detach_keys_option
@container_options
def command(
    image: str,
    words: tuple[str, ...],
    root: Path | None,
    *,
    detach: bool,
    attached: tuple[str, ...],
    sig_proxy: bool,
    keys: str,
    **options: Unpack[CreateOptions],
) -> int:
    from overlayfs_py.cli import foreground, output_arguments
    from overlayfs_py.cli.foreground import starting

    callers_fds = open_descriptors()
    with starting():
        detach_keys = parsed_keys(keys)
        streams = output_arguments.attached(attached, detach=detach)
        store, record = made(image, words, root, options)
    if detach:
        with starting():
            foreground.start_detached(store, record, callers_fds)
        click.echo(record.id)
        return 0
    if not streams & {1, 2}:
        click.echo(record.id)  # docker's way to tell what it was that got this stdin
    return foreground.run(
        store, record, callers_fds, passes_signals=sig_proxy, streams=streams, keys=detach_keys
    )
