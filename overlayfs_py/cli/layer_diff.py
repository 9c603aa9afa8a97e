"""`overlayfs-py layer diff`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

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
@click.option("--json", "as_json", is_flag=True, help="For programs: an object per line.")
@click.argument("before", type=PACK)
@click.argument("after", type=PACK)
def command(before: Path, after: Path, *, as_json: bool) -> int:
    from overlayfs_py.packs.difference import differences
    from overlayfs_py.packs.pack import Pack

    differs = False
    with Pack(os.fsencode(before)) as old, Pack(os.fsencode(after)) as new:
        for difference in differences(old, new):
            differs = True
            click.echo(_json(difference, old, new) if as_json else _line(difference))
    return 1 if differs else 0


def _line(difference: Difference) -> bytes:
    from overlayfs_py.cli.image_files import visible

    parts = f" ({', '.join(difference.parts)})" if difference.parts else ""
    path = visible(b"/" + b"/".join(difference.path))
    return difference.kind.value.encode() + b" " + path + parts.encode()


def _json(difference: Difference, old: Pack, new: Pack) -> str:
    facts: dict[str, object] = {"kind": difference.kind.name.lower()}
    if difference.parts:
        facts["differs"] = difference.parts
    if difference.before is not None:
        facts["before"] = described(old, difference.before)
    if difference.after is not None:
        facts["after"] = described(new, difference.after)
    return json.dumps(facts)
