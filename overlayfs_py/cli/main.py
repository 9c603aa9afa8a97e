"""The two commands' entry points. What a run does not need is not imported: every start counts."""

from __future__ import annotations

import sys

from overlayfs_py.cli import version


def main() -> None:
    """Run `overlayfs-py COMMAND ...`."""
    if version.was_shown(sys.argv[1:], version.OVERLAYFS_PY):
        return
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
