"""`overlayfs-py builder prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.durations import is_duration, parse_duration

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Remove steps from the cache whose layers no image has, and what failed commands left.

With --all also those that images have (the images stay), and cache mounts. What a build uses just
now stays.

\b
Examples:
  overlayfs-py builder prune -f
  overlayfs-py builder prune --all --filter until=48h
  overlayfs-py builder prune --all --keep-storage 5GB
"""
_UNTIL = "until"


@click.command("prune", help=_HELP)
@root_option
@click.option("-a", "--all", "everything", is_flag=True, help="What images have, and cache mounts.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, metavar="until=TIME", help="Unused so long.")
@click.option(
    "--keep-storage",
    "--reserved-space",
    "kept",
    metavar="SIZE",
    help="What may stay: what was used last.",
)
def command(
    root: Path | None, filters: tuple[str, ...], kept: str | None, *, everything: bool, force: bool
) -> None:
    from overlayfs_py.builds.pruning import Wanted, prune
    from overlayfs_py.cli.rights_arguments import size_bytes
    from overlayfs_py.image.units import human_size

    kept_bytes = 0 if kept is None else size_bytes("--keep-storage", kept)
    wanted = Wanted(everything, max(map(_unused_ns, filters), default=0), kept_bytes)
    what = "all of the build cache" if everything else "what no image has of the build cache"
    if not force and not click.confirm(f"This removes {what}. Go on?", default=False):
        return
    done = prune(open_store(root), wanted)
    for text in (*done.steps, *(f"cache mount {ident}" for ident in done.mounts)):
        click.echo(f"Deleted: {' '.join(text.split())}")
    click.echo(f"Total reclaimed space: {human_size(done.freed_bytes)}")


def _unused_ns(text: str) -> int:
    name, _, value = text.partition("=")
    if name not in {_UNTIL, "unused-for"} or not is_duration(value):
        raise click.BadParameter(f"{text!r} is not until=24h", param_hint="--filter")
    return parse_duration(value)
