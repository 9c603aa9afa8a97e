"""What several commands take on their command line."""

from __future__ import annotations

import click

from overlayfs_py.cli.serving import DRIVERS

# For completion only. Whether a path is there and readable is found out by using it: the mount
# point of a dead daemon can be unmounted, but not looked at.
PATH = click.Path(readable=False)

driver_option = click.option(
    "--driver",
    type=click.Choice(DRIVERS),
    default="auto",
    show_default=True,
    help="How requests are answered.",
)
