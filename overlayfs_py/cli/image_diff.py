"""`overlayfs-py image diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.difference_output import as_json, as_line
from overlayfs_py.cli.image_files import described
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.containers.image_difference import Difference
    from overlayfs_py.containers.image_files import ImageFiles

_HELP = """Say which files differ between two images: A is added, C changed, D deleted.

After a changed path stands what differs: type, mode, uid, gid, device, size, mtime_ns, content,
target, xattrs. Content is compared, not guessed from times. A directory is changed only if it
itself differs.

Ends with 0 if nothing differs, with 1 if something does.

\b
Examples:
  overlayfs-py image diff app:1 app:2
  overlayfs-py image diff --json app:1 app:2
"""


@click.command("diff", help=_HELP)
@root_option
@click.option("--json", "is_json", is_flag=True, help="For programs: an object per line.")
@click.argument("before", type=IMAGE)
@click.argument("after", type=IMAGE)
def command(root: Path | None, before: str, after: str, *, is_json: bool) -> int:
    from overlayfs_py.containers.image_difference import differences
    from overlayfs_py.containers.image_files import ImageFiles

    store = open_store(root, to_find=before)
    _, lower = store.use_image(before)
    with lower:
        _, other = store.use_image(after)
        with other, ImageFiles(lower.layers) as old, ImageFiles(other.layers) as new:
            differs = False
            for difference in differences(old, new):
                differs = True
                click.echo(_json(difference, old, new) if is_json else _line(difference))
    return 1 if differs else 0


def _line(difference: Difference) -> str:
    from overlayfs_py.containers.image_files import shown

    return as_line(difference.kind, shown(difference.path), difference.parts)


def _json(difference: Difference, old: ImageFiles, new: ImageFiles) -> str:
    before, after = difference.before, difference.after
    return as_json(
        difference.kind,
        difference.parts,
        None if before is None else described(old, before),
        None if after is None else described(new, after),
    )
