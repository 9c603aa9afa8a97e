"""`overlayfs-py layer verify`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.layer_arguments import PACK
from overlayfs_py.cli.progress import bar
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.verification import Damage

_HELP = """Read all of some packs, and say what is damaged: every byte is covered by a digest.

Ends with 0 if all are whole, with 20 if one is not. --json prints an object per pack: file, whole,
damages (why, and the paths of the files that it concerns).

\b
Examples:
  overlayfs-py layer verify base.pack app.pack
  overlayfs-py layer verify --json base.pack
"""
_MOST_NAMED = 3


@click.command("verify", help=_HELP)
@click.option("--json", "as_json", is_flag=True, help="For programs: an object per line.")
@click.argument("pack_paths", metavar="FILE...", nargs=-1, required=True, type=PACK)
def command(pack_paths: tuple[Path, ...], *, as_json: bool) -> int:
    from overlayfs_py.errors import CorruptLayer

    code = 0
    for path in pack_paths:
        damages = _damages(path)
        if damages:
            code = CorruptLayer.exit_code
        if as_json:
            click.echo(json.dumps(_described(path, damages)))
            continue
        for damage in damages:
            say("overlayfs-py", f"{path}: {_words(damage)}")
        if not damages:
            click.echo(f"{path}: whole")
    return code


def _damages(path: Path) -> list[Damage]:
    from overlayfs_py.errors import CorruptLayer
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.verification import Damage, verify

    try:
        with Pack(os.fsencode(path)) as pack, bar(path.name, pack.footer.index_offset) as advance:
            return list(verify(pack, advance))
    except CorruptLayer as error:
        return [Damage(str(error.strerror))]


def _words(damage: Damage) -> str:
    if not damage.paths:
        return damage.why
    named = ", ".join(for_terminal(b"/" + b"/".join(path)) for path in damage.paths[:_MOST_NAMED])
    more = len(damage.paths) - _MOST_NAMED
    return f"{damage.why}; in {named}" + (f" and {more} more" if more > 0 else "")


def _described(path: Path, damages: list[Damage]) -> dict[str, object]:
    return {
        "file": str(path),
        "whole": not damages,
        "damages": [
            {
                "why": damage.why,
                "paths": [os.fsdecode(b"/" + b"/".join(path)) for path in damage.paths],
            }
            for damage in damages
        ],
    }
