"""`overlayfs-py volume create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Make a volume, and print its name; without NAME one is made up. One that is there stays.

\b
Examples:
  overlayfs-py volume create data
  overlayfs-py volume create --label project=web data
"""


@click.command("create", help=_HELP)
@root_option
@click.option("-d", "--driver", default="local", help="local; there is no other.")
@click.option("--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Say more of it.")
@click.argument("name", required=False)
def command(root: Path | None, driver: str, labels: tuple[str, ...], name: str | None) -> None:
    from overlayfs_py.store import volumes
    from overlayfs_py.store.containers import NAME

    if driver != "local":
        raise OptionError("--driver", f"{driver}: there is only local")
    if name is not None and NAME.fullmatch(name) is None:
        why = "a volume's name is at least two letters, digits, dots, dashes or underscores"
        raise OptionError("NAME", f"{name!r}: {why}")
    store = open_store(root, create=True)
    record = store.volumes.create(
        name or volumes.new_name(),
        labels=dict(label.partition("=")[::2] for label in labels),
        anonymous=name is None,
    )
    click.echo(record.name)
