"""`overlayfs-py image mount`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.arguments import PATH, MountOptions, driver_option
from overlayfs_py.cli.serving import serve
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.cli.temporary import temporary_directory

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Mount an image's root filesystem at DIR, straight from its layers.

It is read-only, or with --rw has an upper that is thrown away when it is unmounted. Set-user-ID
bits and devices have no effect unless `-o suid,dev` asks for it: who made the image is not who
mounts it. The image stays until `overlayfs-py image umount DIR`.

\b
Examples:
  overlayfs-py image mount debian:12 mnt
  overlayfs-py image mount --rw debian:12 mnt
  overlayfs-py image umount mnt
"""


@click.command("mount", help=_HELP)
@root_option
@click.option("--rw", "writable", is_flag=True, help="Writable; what is written is thrown away.")
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="OPTIONS",
    type=MountOptions(),
    help="As `overlayfs-py mount`.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; ^C unmounts.")
@driver_option
@click.argument("image", type=IMAGE)
@click.argument("directory", metavar="DIR", type=PATH)
def command(
    root: Path | None,
    image: str,
    directory: str,
    options: tuple[str, ...],
    driver: str,
    *,
    writable: bool,
    foreground: bool,
) -> None:
    from overlayfs_py.backends.mount_options import interpret
    from overlayfs_py.mounts.daemon import open_descriptors
    from overlayfs_py.mounts.stored_stack import stack_of

    callers_fds = open_descriptors()
    _, layers = open_store(root, to_find=image).use_image(image)
    defaults = (f"lowerdir=.,nosuid,nodev,fsname={_escaped(image)}",)
    request = interpret((*defaults, *options), os.fsencode(directory))
    overrides = request.stack.layer_overrides or stack_of(()).layer_overrides
    stack = request.stack._replace(lower=layers.lower, layer_overrides=overrides)
    request = request._replace(stack=stack)
    temporary = temporary_directory() if writable else None
    # The daemon inherits what keeps the layers; here it goes with the process.
    serve(
        "overlayfs-py",
        request,
        driver=driver,
        foreground=foreground,
        scratch_below=temporary,
        callers_fds=callers_fds,
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")
