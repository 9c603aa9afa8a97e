"""`overlayfs-py container prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord

_HELP = """Remove all containers that do not run, with what they wrote. Volumes stay.

\b
--filter takes
  label=KEY[=VALUE]        label!=KEY[=VALUE] for those without
  until=TIME               made before a date, or so long ago: 24h

\b
Examples:
  overlayfs-py container prune
  overlayfs-py container prune --force --filter until=24h
"""


@click.command("prune", help=_HELP)
@root_option
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Those alone that fit.")
def command(root: Path | None, filters: tuple[str, ...], *, force: bool) -> int:
    from overlayfs_py.cli.errors import say
    from overlayfs_py.containers import life, snapshots
    from overlayfs_py.errors import OverlayError
    from overlayfs_py.image.units import human_size
    from overlayfs_py.store.failures import InUse

    fits = [_condition(text) for text in filters]
    question = "This removes all containers that do not run. Go on?"
    if not force and not click.confirm(question, default=False):
        return 0
    store = open_store(root)
    gone, freed, code = [], 0, 0
    shared: dict[str, int] = {}  # uppers of before: the last container that has one frees it
    for record in store.containers.all():
        if store.containers.is_running(record) or not all(fit(record) for fit in fits):
            continue
        held = snapshots.held_bytes(store, record)
        try:
            life.remove(store, record)
        except InUse:  # somebody has started it
            continue
        except OverlayError as error:
            say("overlayfs-py", str(error))
            code = 1
            continue
        gone.append(record.id)
        freed += held.pop("upper")
        shared |= held
    freed += sum(size for name, size in shared.items() if not store.containers.layer(name).exists())
    if gone:
        click.echo("Deleted Containers:\n" + "\n".join(gone) + "\n")
    click.echo(f"Total reclaimed space: {human_size(freed)}")
    return code


def _condition(text: str) -> Callable[[ContainerRecord], bool]:
    from overlayfs_py.cli.image_filters import parse_filter, parse_until

    wanted = parse_filter(text)
    if wanted.name == "label":
        key, equals, value = wanted.value.partition("=")
        return lambda record: (
            (key in record.labels and (not equals or record.labels[key] == value))
            is not wanted.is_denied
        )
    if wanted.name == "until":
        limit_ns = parse_until(wanted.value)
        return lambda record: record.created_ns < limit_ns
    raise click.BadParameter("label=, label!= or until=", param_hint="--filter")
