"""`overlayfs-py mount`."""

from __future__ import annotations

import click

from overlayfs_py.cli.arguments import PATH, MountOptions, describe_options, driver_option

_HELP = f"""Mount a stack of layers at MNT.

The command returns once the mount answers, and a daemon serves it until `overlayfs-py umount MNT`,
umount(8) or SIGTERM. SOURCE is only shown in the mount table.

\b
Options for -o (comma-separated; -o may be repeated):
{describe_options()}

\b
Examples:
  overlayfs-py mount -o lowerdir=top:base,upperdir=upper,workdir=work mnt
  overlayfs-py mount -o lowerdir=/layers/base mnt
  overlayfs-py mount -f -o lowerdir=base,upperdir=u,workdir=w,volume=/srv/data:/data mnt
"""


@click.command("mount", help=_HELP)
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="OPTIONS",
    type=MountOptions(),
    help="Mount options; see above.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; ^C unmounts.")
@click.option("-d", "--debug", is_flag=True, help="Stay in the foreground and log everything.")
@click.option(
    "--upper-limit",
    metavar="BYTES",
    help="What upper and workdir may take; with k, m or g: -o upper_limit=BYTES.",
)
@driver_option
@click.argument("places", nargs=-1, metavar="[SOURCE] MNT", type=PATH)
def command(
    options: tuple[str, ...],
    places: tuple[str, ...],
    upper_limit: str | None,
    driver: str,
    *,
    foreground: bool,
    debug: bool,
) -> None:
    from overlayfs_py.cli.plain_mount import start

    if upper_limit is not None:
        options += (f"upper_limit={upper_limit}",)
    start(options, places, driver=driver, foreground=foreground, debug=debug)
