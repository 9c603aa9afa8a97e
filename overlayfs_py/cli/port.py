"""`overlayfs-py port`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Say which ports of the host lead into a container, or to PORT[/tcp|udp] of it.

\b
Examples:
  overlayfs-py port web
  overlayfs-py port web 80
"""
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")


@click.command("port", help=_HELP)
@root_option
@click.argument("container", type=CONTAINER)
@click.argument("port", required=False)
def command(root: Path | None, container: str, port: str | None) -> None:
    from overlayfs_py.containers import life

    store = open_store(root)
    record = store.containers.get(container)
    bound = [text.split("->") for text in life.state_of(store, record).ports]
    if port is None:
        for address, inside in sorted(bound, key=lambda each: _order(each[1])):
            click.echo(f"{inside} -> {address}")
        return
    found = _PORT.fullmatch(port)
    if found is None:
        raise OptionError("PORT", f"{port}: not of the form PORT[/tcp|udp]")
    wanted = f"{found[1]}/{found[2] or 'tcp'}"
    addresses = [address for address, inside in bound if inside == wanted]
    if not addresses:
        raise Failure(f"{record.name}: port {wanted} is not published, or it does not run")
    click.echo("\n".join(addresses))


def _order(inside: str) -> tuple[int, str]:
    number, _, protocol = inside.partition("/")
    return int(number), protocol
