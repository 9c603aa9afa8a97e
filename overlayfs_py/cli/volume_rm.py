"""`overlayfs-py volume rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import OverlayError

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Remove volumes, with what is in them. One that a container has, running or not, stays.

\b
Examples:
  overlayfs-py volume rm data
"""


@click.command("rm", help=_HELP)
@root_option
@click.option("-f", "--force", is_flag=True, help="Fine if it is not there.")
@click.argument("names", nargs=-1, required=True)
def command(root: Path | None, names: tuple[str, ...], *, force: bool) -> int:
    from overlayfs_py.containers import life
    from overlayfs_py.store.failures import NotInStore

    store, code = open_store(root), 0
    for name in names:
        try:
            store.volumes.get(name)
            life.remove_volume(store, name)
        except NotInStore as error:
            if not force:
                say("overlayfs-py", str(error))
                code = 1
        except OverlayError as error:
            say("overlayfs-py", str(error))
            code = 1
        else:
            click.echo(name)
    return code
