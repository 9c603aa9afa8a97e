"""`overlayfs-py store fsck`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED = 37  # as what needs a damaged file ends with

_HELP = f"""Read everything in the store and say what is wrong.

Other commands may run meanwhile. With --repair what is damaged is moved out of the way, and names
of images that lost a part are taken away; their other layers stay, so pulling again is cheap.

All bytes are compared with the digests that they were written with. With --deep the tar of each
layer is made again, too, and has to have the digest that its image names.

The exit status is 0 if all is well or repaired, {_DAMAGED} if not.

\b
Examples:
  overlayfs-py store fsck
  overlayfs-py store fsck --deep
  overlayfs-py store fsck --repair
"""


@click.command("fsck", help=_HELP)
@root_option
@click.option("--repair", is_flag=True, help="Move what is wrong out of the way.")
@click.option("--deep", is_flag=True, help="Make each layer's tar again.")
@click.option("--json", "as_json", is_flag=True, help="An object per line.")
def command(root: Path | None, *, repair: bool, deep: bool, as_json: bool) -> int:
    import msgspec

    store = open_store(root)
    found = False
    for problem in store.check(deep=deep):
        found = True
        done = store.repair(problem) if repair else ""
        if as_json:
            row = {
                "Kind": problem.trouble.value,
                "Name": problem.name,
                "Reason": problem.why,
                "Repair": done,
            }
            click.echo(msgspec.json.encode(row).decode())
        else:
            click.echo(for_terminal(f"{problem}{f' ({done})' if done else ''}"))
    if not found and not as_json:
        click.echo("nothing is wrong")
    return _DAMAGED if found and not repair else 0
