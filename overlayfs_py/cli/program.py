"""`fuse-overlayfs-py`: the mount program. No click here: engines start it for every container."""

from __future__ import annotations

import sys

from overlayfs_py.backends import mount_program
from overlayfs_py.cli.lower_image import place_image
from overlayfs_py.cli.serving import serve
from overlayfs_py.cli.version import FUSE_OVERLAYFS_PY

NAME = "fuse-overlayfs-py"
_HELP = f"""\
Usage: {NAME} [-f] [-d] [-o OPTION[,OPTION...]]... [SOURCE] MNT

Mount a stack of layers, for podman, buildah, containerd and mount(8).
It goes to the background once the mount answers; umount(8) ends it.

  -o OPTIONS    lowerdir=A:B, upperdir=U, workdir=W, ...: as `overlayfs-py mount --help` says
  -f            stay in the foreground
  -d            the same, and log everything
  -V --version  say which version this is
  -h --help     say this

Example:
  {NAME} -o lowerdir=/layers/top:/layers/base,upperdir=/u/upper,workdir=/u/work /mnt
"""


def run(arguments: list[str]) -> None:
    """Do what the arguments say."""
    if not {"-V", "--version"}.isdisjoint(arguments):
        sys.stdout.write(FUSE_OVERLAYFS_PY)
    elif not {"-h", "--help"}.isdisjoint(arguments):
        sys.stdout.write(_HELP)
    else:
        asked = mount_program.read(arguments)
        request, callers_fds = place_image(
            asked.request, lambda more: mount_program.read(["-o", more, *arguments]).request
        )
        serve(
            NAME,
            request,
            driver="auto",
            foreground=asked.foreground,
            debug=asked.debug,
            callers_fds=callers_fds,
        )
