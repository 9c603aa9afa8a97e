"""`overlayfs-py mount`."""

from __future__ import annotations

import click

from overlayfs_py.cli.arguments import PATH, driver_option
from overlayfs_py.cli.plain_mount import start

_HELP = """Mount a stack of layers at MNT.

The command returns once the mount answers, and a daemon serves it until `overlayfs-py umount MNT`,
umount(8) or SIGTERM. SOURCE is only shown in the mount table.

\b
Options for -o (comma-separated; -o may be repeated):
  lowerdir=A:B              the layers, topmost first; `\\:` and `\\,` stand for : and , in a name
  upperdir=U,workdir=W      where changes go; without them the mount is read-only
  volume=HOST:/path[:ro]    show a host directory at /path instead of the stack
  uidmapping=DISK:SEEN:N    DISK.. on disk are shown as SEEN.., N of them; may go on with more
  gidmapping=DISK:SEEN:N
  squash_to_root, squash_to_uid=N, squash_to_gid=N
  xattr_permissions=2       owner and mode lie in an xattr (rootless layers)
  redirect_dir=off          renaming a directory of a layer is EXDEV
  whiteout=aufs             write deletions as .wh.NAME files
  volatile, fsync=0         never wait for the disk
  io=passthrough            read files straight from the layers (without an upper)
  static_nlink              every directory has one link
  ro, nosuid, nodev, noexec, noatime, sync, dirsync, fsname=, context=, allow_root: as mount(8)

\b
Examples:
  overlayfs-py mount -o lowerdir=top:base,upperdir=upper,workdir=work mnt
  overlayfs-py mount -o lowerdir=/layers/base mnt
  overlayfs-py mount -f -o lowerdir=base,upperdir=u,workdir=w,volume=/srv/data:/data mnt
"""


@click.command("mount", help=_HELP)
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="Mount options; see above.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; ^C unmounts.")
@click.option("-d", "--debug", is_flag=True, help="Stay in the foreground and log everything.")
@driver_option
@click.argument("places", nargs=-1, metavar="[SOURCE] MNT", type=PATH)
def command(
    options: tuple[str, ...],
    places: tuple[str, ...],
    driver: str,
    *,
    foreground: bool,
    debug: bool,
) -> None:
    start(options, places, driver=driver, foreground=foreground, debug=debug)
