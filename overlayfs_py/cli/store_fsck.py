"""`overlayfs-py store fsck`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED = 37  # as what needs a damaged file ends with

_HELP = f"""Read everything in the store and say what is wrong.

Other commands may run meanwhile. With --repair what is damaged is moved out of the way, and names
of images that lost a part are taken away; their other layers stay, so pulling again is cheap.

The exit status is 0 if all is well or repaired, {_DAMAGED} if not.
"""


@click.command("fsck", help=_HELP)
@root_option
@click.option("--repair", is_flag=True, help="Move what is wrong out of the way.")
@click.option("--json", "as_json", is_flag=True, help="An object per line.")
def command(root: Path | None, *, repair: bool, as_json: bool) -> int:
    import msgspec

    store = open_store(root)
    found = False
    for problem in store.check():
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
            click.echo(f"{problem}{f' ({done})' if done else ''}")
    if not found and not as_json:
        click.echo("nothing is wrong")
    return _DAMAGED if found and not repair else 0
