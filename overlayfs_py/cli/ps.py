"""`overlayfs-py ps`."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.listing import Listed
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_HELP = """List containers: those that run, with -a all.

\b
--format takes `json` (an object per line), a Go template, or `table` before one. Fields:
  .ID .Image .Command .CreatedAt .RunningFor .Ports .State .Status .Size .Names .Labels .Mounts
  .LocalVolumes .Networks
Filters: id= name= status= label=KEY[=VALUE] ancestor=IMAGE exited=N volume= before=CONTAINER
  since=CONTAINER health= network= publish=PORT[/PROTOCOL] expose=PORT[/PROTOCOL]

\b
Examples:
  overlayfs-py ps -a
  overlayfs-py ps --filter status=exited --format '{{.Names}}: {{.Status}}'
"""
_PUBLISHED = re.compile(r":(\d+)->\d+/(\w+)")
_LIVING = {"running", "paused", "restarting"}


@click.command("ps", help=_HELP)
@root_option
@click.option("-a", "--all", "wants_all", is_flag=True, help="Those that do not run, too.")
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@click.option("-n", "--last", default=-1, metavar="N", help="The last N that were made.")
@click.option("-l", "--latest", is_flag=True, help="The last one.")
@click.option(
    "-s", "--size", "with_size", is_flag=True, help="What they changed, snapshots included."
)
@click.option("-f", "--filter", "filters", multiple=True, help="Those alone that fit.")
@click.option("--no-trunc", is_flag=True, help="Print everything in full.")
@click.option("--format", "form", help="json, a Go template, or a table of one.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def command(
    root: Path | None,
    last: int,
    filters: tuple[str, ...],
    form: str | None,
    *,
    wants_all: bool,
    quiet: bool,
    latest: bool,
    with_size: bool,
    no_trunc: bool,
    as_json: bool,
) -> None:
    from overlayfs_py.containers import listing
    from overlayfs_py.image.tables import format_rows

    store = open_store(root)
    table = listing.TABLE_WITH_SIZE if with_size else listing.TABLE
    table = listing.IDS if quiet else table
    form = "json" if as_json else {None: table, "table": table}.get(form, form)
    shows_size = with_size or ".Size" in (form or "")
    fits = _conditions(store, filters)
    found = [_listed(store, record, with_size=shows_size) for record in store.containers.all()]
    chosen = [each for each in found if all(fit(each) for fit in fits)]
    most = 1 if latest else last
    asks_status = any(text.startswith(("status=", "exited=")) for text in filters)
    if most >= 0:
        chosen = chosen[:most]
    elif not wants_all and not asks_status:
        chosen = [each for each in chosen if each.state.status.value in _LIVING]
    rows = listing.container_rows(chosen, time.time_ns(), shorten=not no_trunc)
    click.echo(format_rows(form or table, listing.COLUMNS, rows), nl=False)


def _listed(store: Store, record: ContainerRecord, *, with_size: bool) -> Listed:
    from overlayfs_py.containers import life, listing, snapshots

    state = life.state_of(store, record)
    if not with_size:
        return listing.Listed(record, state)
    size = sum(snapshots.held_bytes(store, record).values())
    sizes = [store.find_layer(diff_id) for diff_id in {*record.diff_ids}]  # type: ignore[arg-type]
    image_size = sum(layer.record.files_size for layer in sizes if layer is not None)
    return listing.Listed(record, state, size, image_size)


def _conditions(store: Store, filters: tuple[str, ...]) -> list[Callable[[Listed], bool]]:
    return [_condition(store, *text.partition("=")[::2]) for text in filters]


def _condition(store: Store, name: str, value: str) -> Callable[[Listed], bool]:
    match name:
        case "id":
            return lambda each: each.record.id.startswith(value)
        case "name":
            return lambda each: value.removeprefix("/") in each.record.name
        case "status":
            return lambda each: each.state.status.value == value
        case "label":
            key, equals, wanted = value.partition("=")
            return lambda each: (
                key in each.record.labels and (not equals or each.record.labels[key] == wanted)
            )
        case "ancestor":
            image_id = store.image(value).image_id
            return lambda each: each.record.image_id == image_id
        case "exited" if value.isdigit():
            return lambda each: (
                each.state.status.value == "exited" and each.state.exit_code == int(value)
            )
        case "volume":
            return lambda each: any(value in (m.source, m.target) for m in each.record.mounts)
        case "before" | "since":
            other = store.containers.get(value)
            sign = 1 if name == "since" else -1
            return lambda each: sign * (each.record.created_ns - other.created_ns) > 0
        case "health":
            return lambda each: each.state.health.value == value
        case "network":
            return lambda each: each.record.network == value
        case "publish" | "expose":
            return _port_condition(value, published=name == "publish")
        case _:
            raise OptionError("--filter", f"{name}={value}: not known")


def _port_condition(value: str, *, published: bool) -> Callable[[Listed], bool]:
    """Whether one of the ports that lead inside has a number, here or there."""
    number, _, protocol = value.partition("/")
    if not number.isdigit():
        raise OptionError("--filter", f"{value}: not of the form PORT[/PROTOCOL]")

    wanted = (number, protocol or "tcp")

    def fits(each: Listed) -> bool:
        if published:
            return wanted in _PUBLISHED.findall(" ".join(each.state.ports))
        return wanted in {(str(port.container_port), port.protocol) for port in each.record.ports}

    return fits
