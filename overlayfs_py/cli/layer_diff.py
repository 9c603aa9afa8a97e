"""`overlayfs-py layer diff`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.difference_output import as_json, as_line
from overlayfs_py.cli.layer_arguments import PACK
from overlayfs_py.cli.layer_ls import described

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.difference import Difference
    from overlayfs_py.packs.pack import Pack

_HELP = """Say what differs between two packs: A is added, C changed, D deleted.

After a changed path stands what differs: type, mode, uid, gid, mtime_ns, opaque, links, target,
device, size, content, xattrs. Content is compared, not guessed from times. The layers are compared
as they are, not what they show together: a whiteout is a path like others.

Ends with 0 if nothing differs, with 1 if something does.

\b
Examples:
  overlayfs-py layer diff old.pack new.pack
  overlayfs-py layer diff --json old.pack new.pack
"""


@click.command("diff", help=_HELP)
@click.option("--json", "is_json", is_flag=True, help="For programs: an object per line.")
@click.argument("before", type=PACK)
@click.argument("after", type=PACK)
def command(before: Path, after: Path, *, is_json: bool) -> int:
    from overlayfs_py.packs.difference import differences
    from overlayfs_py.packs.pack import Pack

    differs = False
    with Pack(os.fsencode(before)) as old, Pack(os.fsencode(after)) as new:
        for difference in differences(old, new):
            differs = True
            click.echo(_json(difference, old, new) if is_json else _line(difference))
    return 1 if differs else 0


def _line(difference: Difference) -> str:
    return as_line(difference.kind, b"/" + b"/".join(difference.path), difference.parts)


def _json(difference: Difference, old: Pack, new: Pack) -> str:
    before, after = difference.before, difference.after
    return as_json(
        difference.kind,
        difference.parts,
        None if before is None else described(old, before),
        None if after is None else described(new, after),
    )
