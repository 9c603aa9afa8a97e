"""`overlayfs-py layer info`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.layer_arguments import PACK

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.pack import Pack

_HELP = """Say what a pack is: its digests, its size, how it was made and what is in it.

\b
Examples:
  overlayfs-py layer info base.pack
  overlayfs-py layer info --json base.pack
"""


@click.command("info", help=_HELP)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.argument("pack_path", metavar="FILE", type=PACK)
def command(pack_path: Path, *, as_json: bool) -> None:
    from overlayfs_py.packs.pack import Pack

    with Pack(os.fsencode(pack_path)) as pack:
        facts = _facts(pack)
    click.echo(json.dumps(facts) if as_json else _as_text(facts))


def _facts(pack: Pack) -> dict[str, object]:
    from overlayfs_py.errors import CorruptLayer
    from overlayfs_py.packs.format import SectionId
    from overlayfs_py.packs.to_tar import is_exact, origin

    found = origin(pack)
    footer = pack.footer
    facts: dict[str, object] = {
        "digest": f"sha256:{pack.digest.hex()}",
        "diff_id": None if found is None else found[0],
        "tar_bytes": None if found is None else found[1],
        "gives_its_tar": is_exact(pack),
        "bytes": footer.file_size,
        "index_bytes": footer.index_length,
        "chunks": pack.index.chunks,
    }
    try:
        made = json.loads(pack.index.section(SectionId.META) or b"{}")
        facts |= {name: made[name] for name in sorted(made)}
    except (ValueError, TypeError):
        raise CorruptLayer(pack.path, "what it says of itself makes no sense") from None
    return facts


def _as_text(facts: dict[str, object]) -> str:
    from overlayfs_py.image.units import human_size

    lines = []
    for name, value in facts.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            shown = ", ".join(f"{count} {what}" for what, count in value.items() if count)
        elif name.endswith("bytes") and isinstance(value, int):
            label = label.removesuffix(" bytes").replace("bytes", "size")
            shown = f"{human_size(value)} ({value} bytes)"
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        elif value is None:
            continue
        else:
            shown = str(value)
        lines.append(f"{label + ':':15} {shown}")
    return "\n".join(lines)
