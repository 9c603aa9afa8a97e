"""`overlayfs-py umount`."""

from __future__ import annotations

import os

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.drivers import mounting

_HELP = """Unmount MNT; its daemon ends.

The mount of a daemon that was killed ("Transport endpoint is not connected") goes away too.

\b
Examples:
  overlayfs-py umount mnt
  overlayfs-py umount --lazy mnt
"""


@click.command("umount", help=_HELP)
@click.option(
    "-l", "--lazy", is_flag=True, help="Also when busy: out of sight now, ended by its last user."
)
@click.argument("mount_point", metavar="MNT", type=PATH)
def command(mount_point: str, *, lazy: bool) -> None:
    mounting.unmount(os.fsencode(mount_point), lazy=lazy)
