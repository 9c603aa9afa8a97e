"""`overlayfs-py volume prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Remove anonymous volumes that no container has, with --all those with a name, too.

Filters: label=KEY[=VALUE] label!=KEY[=VALUE]

\b
Examples:
  overlayfs-py volume prune -f
  overlayfs-py volume prune --all --filter label=project=web
"""
_FILTERS = ("label", "label!")


@click.command("prune", help=_HELP)
@root_option
@click.option("-a", "--all", "named", is_flag=True, help="Those with a name, too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Those alone that fit.")
def command(root: Path | None, filters: tuple[str, ...], *, named: bool, force: bool) -> None:
    from overlayfs_py.cli import volume_listing
    from overlayfs_py.containers import life
    from overlayfs_py.image.units import human_size
    from overlayfs_py.store.failures import InUse, NotInStore

    store = open_store(root)
    fits = volume_listing.fitting(store, filters, _FILTERS)
    what = "volumes" if named else "anonymous volumes"
    question = f"This removes all {what} that no container has. Go on?"
    if not force and not click.confirm(question, default=False):
        return
    gone, freed = [], 0
    for volume in store.volumes.all():
        if not (named or volume.anonymous) or not fits(volume):
            continue
        try:
            freed += life.remove_volume(store, volume.name)
        except (InUse, NotInStore):
            continue  # of a container, or gone meanwhile
        gone.append(volume.name)
    if gone:
        click.echo("Deleted Volumes:\n" + "\n".join(gone) + "\n")
    click.echo(f"Total reclaimed space: {human_size(freed)}")
