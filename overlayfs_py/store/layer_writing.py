"""A layer's tar, as it comes, made into a layer of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.packs.from_tar import pack_tar
from overlayfs_py.packs.values import PackOptions
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.store.layers import LayerFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.packs.from_tar import PackedTar
    from overlayfs_py.store.layers import LayerIngest


def write_layer(
    ingest: LayerIngest, blocks: Iterable[bytes], options: PackOptions | None = None
) -> tuple[LayerFacts, PackedTar]:
    """Write the pack of a layer from its tar, compressed or not; `commit_layer` is the caller's.

    Returns what the layer is, and what came in. `blocks` are iterated in a thread of their own.

    Raises:
        BadTar, BadCompression, TooLarge: what came in.
        OSError: from writing, and whatever `blocks` raises.
    """
    with ingest.path.open("xb") as out:
        writer = PackWriter(out, options or PackOptions())
        packed = pack_tar(blocks, writer)
        summary = writer.finish()
    return _facts(packed, summary.digest), packed


def _facts(packed: PackedTar, pack: bytes) -> LayerFacts:
    return LayerFacts(
        digest_of_hex(packed.diff_sha256.hex()),
        packed.tar_size,
        packed.files_size,
        digest_of_hex(pack.hex()),
    )
