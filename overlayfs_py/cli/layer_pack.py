"""`overlayfs-py layer pack`."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from overlayfs_py.cli.layer_arguments import INPUT, OUTPUT, SIZE, naming
from overlayfs_py.cli.outputs import STDOUT, output_file
from overlayfs_py.cli.progress import bar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.cli.progress import Advance
    from overlayfs_py.packs.from_tar import PackedTar
    from overlayfs_py.packs.values import PackSummary
    from overlayfs_py.packs.writer import PackWriter

_HELP = """Make a pack of a layer: one lz4 file that mounts as it is.

SOURCE is a directory, maybe an upper of a mount, or a layer's tar: plain, or compressed with
gzip, zstd, lz4, bzip2 or xz; - reads it from stdin. A pack of a tar gives that very tar again.

\b
Examples:
  overlayfs-py layer pack rootfs -o base.pack
  overlayfs-py layer pack layer.tar.gz -o layer.pack --best
  curl ... | overlayfs-py layer pack - -o layer.pack
  overlayfs-py mount -o lowerdir=layer.pack:base.pack mnt
"""
_BLOCK_BYTES = 256 << 10
_BEST = 9


class _Made(NamedTuple):
    summary: PackSummary
    tar: PackedTar | None  # None: of a directory


@click.command("pack", help=_HELP)
@click.option("-o", "--output", type=OUTPUT, required=True, help="The pack; - for stdout.")
@click.option("--best", is_flag=True, help="Smaller, and slower to make: the same as --level 9.")
@click.option(
    "--level",
    type=click.IntRange(0, 12),
    default=0,
    show_default=True,
    help="0 is fast, 1 to 12 is lz4's high compression.",
)
@click.option(
    "--chunk",
    "chunk_bytes",
    type=SIZE,
    default="128K",
    show_default=True,
    help="What is read and verified at once; 4K to 1M.",
)
@click.option("--json", "as_json", is_flag=True, help="Say what was made, for programs.")
@click.argument("source", type=INPUT)
def command(
    output: Path, level: int, chunk_bytes: int, source: Path, *, best: bool, as_json: bool
) -> None:
    from overlayfs_py.packs.values import PackOptions
    from overlayfs_py.packs.writer import PackWriter

    options = PackOptions(_BEST if best else level, chunk_bytes.bit_length() - 1)
    with output_file(output) as out:
        writer = PackWriter(out, options)
        with naming(source):
            made = _pack(source, writer)
    click.echo(_as_json(made) if as_json else _as_text(output, made), err=str(output) == STDOUT)


def _pack(source: Path, writer: PackWriter) -> _Made:
    if str(source) != STDOUT and source.is_dir():
        from overlayfs_py.packs.from_directory import pack_directory

        with bar(source.name, None) as advance:
            pack_directory(os.fsencode(source), writer, on_data=advance)
            return _Made(writer.finish(), None)
    from overlayfs_py.packs.from_tar import pack_tar
    from overlayfs_py.tars.errors import BadTar

    fd = sys.stdin.fileno() if str(source) == STDOUT else os.open(source, os.O_RDONLY)
    status = os.fstat(fd)
    total = status.st_size if stat.S_ISREG(status.st_mode) else None
    with os.fdopen(fd, "rb", buffering=0, closefd=fd > 2), bar(source.name, total) as advance:
        tar = pack_tar(_blocks(fd, advance), writer)
        if tar.blob_size == 0:
            raise BadTar("nothing at all", 0)
        return _Made(writer.finish(), tar)


def _blocks(fd: int, advance: Advance) -> Iterator[bytes]:
    while block := os.read(fd, _BLOCK_BYTES):
        advance(len(block))
        yield block


def _as_text(output: Path, made: _Made) -> str:
    from overlayfs_py.image.units import human_size

    counts = made.summary.counts
    text = f"{output}: {counts.names} names, {human_size(made.summary.data_bytes)} of data"
    text += f" in {human_size(made.summary.file_size)}"
    return text if made.tar is None else f"{text}, sha256:{made.tar.diff_sha256.hex()}"


def _as_json(made: _Made) -> str:
    summary = made.summary
    facts: dict[str, object] = {
        "digest": f"sha256:{summary.digest.hex()}",
        "bytes": summary.file_size,
        "data_bytes": summary.data_bytes,
        "counts": summary.counts._asdict(),
    }
    if made.tar is not None:
        facts |= {
            "diff_id": f"sha256:{made.tar.diff_sha256.hex()}",
            "tar_bytes": made.tar.tar_size,
            "blob": f"sha256:{made.tar.blob_sha256.hex()}",
            "blob_bytes": made.tar.blob_size,
            "compression": made.tar.compression.value,
        }
    return json.dumps(facts)
