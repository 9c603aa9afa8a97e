"""`overlayfs-py builder df`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.build_records import UsedStep
    from overlayfs_py.store.cache_mounts import CacheMountRecord

_HELP = """List the steps in the cache, the one used last first, and the cache mounts.

\b
Examples:
  overlayfs-py builder df
  overlayfs-py builder df --json
"""
_HEADERS = ("ID", "SIZE", "SECONDS", "LAST USED", "STEP")
_WIDEST = 60


@click.command("df", help=_HELP)
@root_option
@click.option("--json", "as_json", is_flag=True, help="An object a line, with the parts of keys.")
def command(root: Path | None, *, as_json: bool) -> None:
    import time

    from overlayfs_py.image.columns import align
    from overlayfs_py.image.units import human_duration, human_size
    from overlayfs_py.store.layers import size_on_disk
    from overlayfs_py.terminal_text import shortened

    builds = open_store(root).builds
    steps, mounts = builds.steps(), builds.mounts.all()
    if as_json:
        _print_json(steps, mounts)
        return
    rows = [_HEADERS]
    now = time.time_ns()
    for used in steps:
        record = used.record
        rows.append(
            (
                record.key.partition(":")[2][:12],
                human_size(used.layer_bytes),
                f"{record.seconds:.1f}",
                f"{human_duration(now - used.used_ns)} ago",
                shortened(" ".join(record.instruction.split()), _WIDEST),
            )
        )
    for mount, path in mounts:
        ago = human_duration(now - path.stat().st_mtime_ns)
        size = human_size(size_on_disk(path))
        rows.append((path.name[:12], size, "", f"{ago} ago", f"cache mount {shortened(mount.id)}"))
    click.echo(align("".join("\t".join(row) + "\n" for row in rows)), nl=False)


def _print_json(steps: list[UsedStep], mounts: list[tuple[CacheMountRecord, Path]]) -> None:
    import json

    from overlayfs_py.image.times import rfc3339
    from overlayfs_py.store.layers import size_on_disk

    for used in steps:
        record = used.record
        facts = {
            "Type": "step",
            "Key": record.key,
            "Instruction": record.instruction,
            "Parts": dict(record.parts),
            "Layer": record.layer,
            "Seconds": record.seconds,
            "Bytes": used.layer_bytes,
            "Created": rfc3339(record.created_ns),
            "Used": rfc3339(used.used_ns),
        }
        click.echo(json.dumps(facts))
    for mount, path in mounts:
        facts = {"Type": "mount", "Id": mount.id, "Bytes": size_on_disk(path)}
        click.echo(json.dumps(facts))
