"""A layer's tar, as it comes, made into a layer of the store."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.packs.from_tar import pack_tar
from overlayfs_py.packs.layer_writer import LayerWriter
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_directory import unpack
from overlayfs_py.packs.values import PackOptions
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.store.layers import LayerFacts
from overlayfs_py.store.records import Form
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.packs.from_tar import PackedTar
    from overlayfs_py.store.layers import LayerIngest

log = logging.getLogger(__name__)

_MOST_NAMED = 5


def write_layer(
    ingest: LayerIngest, blocks: Iterable[bytes], options: PackOptions | None = None
) -> tuple[LayerFacts, PackedTar]:
    """Write a layer from its tar, compressed or not; `commit_layer` is the caller's.

    A directory is made of a pack that goes again, so both forms mean the same. Returns what the
    layer is, and what came in. `blocks` are iterated in a thread of their own.

    Raises:
        BadTar, BadCompression, TooLarge: what came in.
        OSError: from writing, and whatever `blocks` raises.
    """
    if ingest.form is Form.PACK:
        packed, digest = _write_pack(ingest.path, blocks, options)
        return _facts(packed, digest_of_hex(digest.hex())), packed
    draft = ingest.path.with_suffix(".pack")
    packed, _ = _write_pack(draft, blocks, options)
    facts = _facts(packed, "")
    _unpack(draft, ingest.path, facts.diff_id)
    draft.unlink()
    return facts, packed


def _write_pack(
    path: Path, blocks: Iterable[bytes], options: PackOptions | None
) -> tuple[PackedTar, bytes]:
    with naming(path), new_file(path) as out:
        writer = PackWriter(out, options or PackOptions())
        packed = pack_tar(blocks, writer)
        return packed, writer.finish().digest


def write_made_layer(ingest: LayerIngest, fill: Callable[[LayerWriter], object]) -> LayerFacts:
    """Write a layer of what `fill` adds, in one pass; `commit_layer` is the caller's.

    Raises:
        BadEntry: what no layer can hold.
        OSError: from writing, and whatever `fill` raises.
    """
    with naming(ingest.path), new_file(ingest.path) as out:
        writer = PackWriter(out)
        layer = LayerWriter(writer)
        fill(layer)
        made = layer.finish()
        digest = writer.finish().digest
    diff_id = digest_of_hex(made.diff_sha256.hex())
    return LayerFacts(diff_id, made.tar_size, made.files_size, digest_of_hex(digest.hex()))


def new_file(path: Path) -> BinaryIO:
    """Open a pack to be written; whatever the umask, no other user may write to it.

    A mount trusts no set-id bits and devices in a pack that others can write.
    """
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o644))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of write(2), which knows no name, say which file it is about.

    One of ours is about what came in, which the caller knows by another name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and not isinstance(error, OverlayError):
            error.filename = str(path)
        raise


def _unpack(draft: Path, target: Path, name: str) -> None:
    target.mkdir()
    with Pack(os.fsencode(draft)) as pack:
        lost = unpack(pack, os.fsencode(target), privileged=os.geteuid() == 0).lost
    if lost:
        more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        what = ", ".join(lost[:_MOST_NAMED])
        log.warning("%s: the directory cannot keep %s%s", name, for_terminal(what), more)


def _facts(packed: PackedTar, pack: str) -> LayerFacts:
    diff_id = digest_of_hex(packed.diff_sha256.hex())
    return LayerFacts(diff_id, packed.tar_size, packed.files_size, pack)
