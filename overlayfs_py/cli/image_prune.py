"""`overlayfs-py image prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Remove images that no name means, with --all every image that is not mounted.

What no image needs any more goes, too, unfinished downloads among it.

\b
--filter takes
  label=KEY[=VALUE]        label!=KEY[=VALUE] for those without
  until=TIME               made before a date, or so long ago: 24h

\b
Examples:
  overlayfs-py image prune
  overlayfs-py image prune --all --force
  overlayfs-py image prune -a -f --filter until=168h
"""


@click.command("prune", help=_HELP)
@root_option
@click.option("-a", "--all", "tagged", is_flag=True, help="Those that have a name, too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Those alone that fit.")
def command(root: Path | None, filters: tuple[str, ...], *, tagged: bool, force: bool) -> None:
    from overlayfs_py.cli.image_filters import condition, parse_filter
    from overlayfs_py.image.reference import parse_reference
    from overlayfs_py.image.units import human_size

    wanted = [parse_filter(text) for text in filters]
    for each in wanted:
        if each.name not in {"label", "until"}:
            raise click.BadParameter("label=, label!= or until=", param_hint="--filter")
    what = "images that are not mounted" if tagged else "images without a name"
    if not force and not click.confirm(f"This removes all {what}. Go on?", default=False):
        return
    store = open_store(root)
    conditions = [condition(each, store) for each in wanted]
    removal = store.prune(
        tagged=tagged,
        fits=(lambda image: all(fits(image) for fits in conditions)) if conditions else None,
    )
    if removal.untagged or removal.deleted:
        click.echo("Deleted Images:")
        for text in removal.untagged:
            click.echo(f"untagged: {parse_reference(text).familiar}")
        for digest in removal.deleted:
            click.echo(f"deleted: {digest}")
        click.echo()
    click.echo(f"Total reclaimed space: {human_size(removal.freed_bytes)}")
