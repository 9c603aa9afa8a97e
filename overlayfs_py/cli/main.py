"""The two commands' entry points. What a run does not need is not imported: every start counts."""

from __future__ import annotations

import os
import sys

from overlayfs_py.cli import version

_WARM = "warm"


def main() -> None:
    """Run `overlayfs-py COMMAND ...`."""
    words = sys.argv[1:]
    if version.was_shown(words, version.OVERLAYFS_PY):
        return
    if words[:2] == [_WARM, "serve"]:
        from overlayfs_py.cli import warm_serve

        warm_serve.serve(words[2:])  # returns in processes whose words are a client's
    elif words[:1] != [_WARM]:
        _hand_over()  # returns where nobody has taken it
    _run()


def _hand_over() -> None:
    from overlayfs_py.cli import warm_place

    path = warm_place.socket_path()
    if path is not None:
        from overlayfs_py.warm import client

        client.hand_over(path, os.environb)


def _run() -> None:
    from overlayfs_py.cli.errors import ending, leave

    def command() -> int:
        name, *arguments = sys.argv[1:] or [""]
        if name == "mount" and "-o" in arguments:
            from overlayfs_py.cli import plain_mount

            if plain_mount.run(arguments):
                return 0
        from overlayfs_py.cli import commands

        return commands.run(sys.argv[1:])

    leave(ending("overlayfs-py", command))


def mount_program() -> None:
    """Run `fuse-overlayfs-py -o OPTIONS MNT`."""
    if version.was_shown(sys.argv[1:], version.FUSE_OVERLAYFS_PY):
        return
    from overlayfs_py.cli.errors import ending, leave

    def command() -> None:
        from overlayfs_py.cli import program

        program.run(sys.argv[1:])

    leave(ending("fuse-overlayfs-py", command))
