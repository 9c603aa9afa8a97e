"""`overlayfs-py snapshot`: what containers can go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.cli.lazy import LazyGroup

if TYPE_CHECKING:
    import click

MODULES = {"ls": "snapshot_ls", "rm": "snapshot_rm", "take": "snapshot_take"}
_USUAL = "take"
_HELP = """Keep a container's files as they are now, while it runs or not; list what is kept.

Without a command in front of the container's name one is taken.

\b
Examples:
  overlayfs-py snapshot db migrated
  overlayfs-py snapshot ls db
  overlayfs-py snapshot rm db migrated
"""


class _Snapshots(LazyGroup):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and not self._has(args[0]) and args[0] not in ctx.help_option_names:
            args = [_USUAL, *args]
        return super().parse_args(ctx, args)


command = _Snapshots(
    "snapshot", help=_HELP, modules=MODULES, aliases={"list": "ls", "remove": "rm"}
)
