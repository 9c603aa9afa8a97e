"""`overlayfs-py layer unpack`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.layer_arguments import OUTPUT, PACK
from overlayfs_py.cli.outputs import output_directory, output_file
from overlayfs_py.cli.progress import bar

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.to_directory import Unpacked

_HELP = """Unpack a pack: into a directory that is a layer again, or with --tar into a tar.

A pack of a tar gives that very tar, bit for bit. As root everything is exact; an ordinary user's
directory keeps owners, modes and devices in xattrs, to be mounted with xattr_permissions=2.

\b
Examples:
  overlayfs-py layer unpack base.pack -o base
  overlayfs-py layer unpack --tar base.pack -o base.tar
  overlayfs-py layer unpack --tar base.pack -o - | tar t
  overlayfs-py layer unpack --tar --compress gzip base.pack -o base.tar.gz
"""
_MOST_NAMED = 5


@click.command("unpack", help=_HELP)
@click.option("-o", "--output", type=OUTPUT, required=True, help="A directory; with --tar a file.")
@click.option("--tar", "as_tar", is_flag=True, help="Make a tar; -o - is stdout.")
@click.option(
    "--compress",
    type=click.Choice(["none", "gzip", "zstd", "lz4"]),
    default="none",
    show_default=True,
    help="How to compress the tar.",
)
@click.argument("pack_path", metavar="FILE", type=PACK)
def command(output: Path, compress: str, pack_path: Path, *, as_tar: bool) -> None:
    if as_tar:
        _to_tar(pack_path, output, compress)
    elif compress != "none":
        raise click.UsageError("--compress is for --tar")
    elif str(output) == "-":
        raise click.UsageError("a directory cannot go to stdout; --tar can")
    else:
        _to_directory(pack_path, output)


def _to_tar(pack_path: Path, output: Path, compress: str) -> None:
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.to_tar import origin, write_tar
    from overlayfs_py.tars.engines import Compression, compressor

    with Pack(os.fsencode(pack_path)) as pack, output_file(output) as out:
        found = origin(pack)
        packer = compressor(Compression(compress))
        with bar(pack_path.name, found[1] if found else None) as advance:

            def write(piece: bytes | memoryview) -> None:
                out.write(packer.compress(bytes(piece)))
                advance(len(piece))

            write_tar(pack, write)
            out.write(packer.flush())


def _to_directory(pack_path: Path, output: Path) -> None:
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.to_directory import unpack

    privileged = os.geteuid() == 0
    with (
        Pack(os.fsencode(pack_path)) as pack,
        output_directory(output) as target,
        bar(pack_path.name, None) as advance,
    ):
        made = unpack(pack, os.fsencode(target), privileged=privileged, on_bytes=advance)
    if made.lost:
        say("overlayfs-py", _loss(pack_path, output, made))


def _loss(pack_path: Path, output: Path, made: Unpacked) -> str:
    named = ", ".join(made.lost[:_MOST_NAMED])
    more = len(made.lost) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"{pack_path}: {output} cannot keep {named}{rest}"
