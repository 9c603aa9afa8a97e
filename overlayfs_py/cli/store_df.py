"""`overlayfs-py store df`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.usage import Amount, Usage

_HELP = """Show what the store's room on the disk is used for, and how much of it nobody needs.

With -v also how much of each image others share, and how much would go with it.

\b
Examples:
  overlayfs-py store df -v
  overlayfs-py store df --json
"""
_HEADERS = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
_IMAGE_HEADERS = ("IMAGE ID", "NAME", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "MOUNTED")


@click.command("df", help=_HELP)
@root_option
@click.option("-v", "--verbose", is_flag=True, help="Each image.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def command(root: Path | None, *, verbose: bool, as_json: bool) -> None:
    from overlayfs_py.image.columns import align
    from overlayfs_py.image.units import human_size

    store = open_store(root)
    if store.containers.have_files or store.builds.mounts.all():
        from overlayfs_py.containers import user_namespace

        if not user_namespace.may_mount():
            user_namespace.enter()  # where files of containers' users can be looked at
    usage = store.usage()
    if as_json:
        click.echo(_json(usage))
        return
    rows = [_HEADERS]
    for name, amount in _amounts(usage):
        size, free = human_size(amount.total_bytes), human_size(amount.reclaimable_bytes)
        rows.append((name, str(amount.count), str(amount.active), size, free))
    click.echo(align("".join("\t".join(row) + "\n" for row in rows)), nl=False)
    if verbose:
        lines = ["\t".join(_IMAGE_HEADERS), *("\t".join(row) for row in _image_rows(usage))]
        click.echo("\n" + align("".join(f"{line}\n" for line in lines)), nl=False)


def _amounts(usage: Usage) -> Iterator[tuple[str, Amount]]:
    yield "Layers", usage.layers
    yield "Blobs", usage.blobs
    yield "Containers", usage.containers
    yield "Volumes", usage.volumes
    yield "Snapshots", usage.snapshots
    yield "Build cache", usage.builds
    yield "Downloads", usage.downloads
    yield "Leftovers", usage.leftovers


def _image_rows(usage: Usage) -> Iterator[tuple[str, ...]]:
    from overlayfs_py.image.digest import hex_of
    from overlayfs_py.image.reference import parse_reference
    from overlayfs_py.image.units import human_size

    for entry in usage.images:
        names = [parse_reference(name).familiar for name in entry.image.references]
        yield (
            hex_of(entry.image.image_id)[:12],
            names[0] if names else "<none>",
            human_size(entry.total_bytes),
            human_size(entry.shared_bytes),
            human_size(entry.unique_bytes),
            "yes" if entry.is_mounted else "no",
        )


def _json(usage: Usage) -> str:
    import msgspec

    amounts = {
        name.title().replace(" ", ""): {
            "Count": amount.count,
            "Active": amount.active,
            "Bytes": amount.total_bytes,
            "ReclaimableBytes": amount.reclaimable_bytes,
        }
        for name, amount in _amounts(usage)
    }
    images = [
        {
            "Id": entry.image.image_id,
            "Names": entry.image.references,
            "SharedBytes": entry.shared_bytes,
            "UniqueBytes": entry.unique_bytes,
            "Mounted": entry.is_mounted,
        }
        for entry in usage.images
    ]
    return msgspec.json.encode({**amounts, "Bytes": usage.total_bytes, "Images": images}).decode()
