"""A pack that is torn, has a flipped bit, or was made to hurt."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlayfs_py.layers.values import Attributes
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import (
    DIRENT,
    FOOTER_SIZE,
    INODE,
    PAGE_SIZE,
    Flag,
    Inode,
    SectionId,
    parse_footer,
)
from overlayfs_py.packs.items import walk
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import Hole, Metadata
from overlayfs_py.packs.verification import verify
from tests.packs.reading import faults, layer_of, view, write
from tests.support.resealing import resealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.packs.layer import PackLayer
    from overlayfs_py.packs.writer import PackWriter
    from tests.packs.reading import View

PATTERNS = (0x01, 0x80, 0xFF)


def fill(writer: PackWriter) -> None:
    """A little of everything."""
    writer.add_directory((), Metadata(0o755, 1, 2, 3_000_000_004))
    xattrs = ((b"user.x", b"value"), (b"user.y", b""))
    writer.add_file((b"text",), Metadata(0o4755, xattrs=xattrs), [b"text and more " * 400])
    writer.add_file((b"sparse",), Metadata(), [b"s" * 50, Hole(5000), b"t" * 50])
    writer.add_file((b"random",), Metadata(), [hashlib.sha256(b"seed").digest() * 9])
    writer.add_link((b"deep", b"link"), (b"text",))
    writer.add_symlink((b"symlink",), Metadata(0o777), b"deep/link")
    writer.add_special((b"device",), stat.S_IFBLK, Metadata(0o600), os.makedev(8, 1))
    writer.add_whiteout((b"deep", b"gone"))
    writer.mark_opaque((b"deep",))


@pytest.fixture(scope="module")
def pack() -> bytes:
    return write(fill)


@pytest.fixture
def expected(pack: bytes, tmp_path: Path) -> View:
    with layer_of(tmp_path / "sound", pack) as layer:
        return view(layer)


def test_each_cut_is_noticed(pack: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(pack)
    for length in reversed(range(len(pack))):
        os.truncate(path, length)
        with pytest.raises(CorruptLayer, match="pack"), layer_of(path):
            pass
        assert faults(path) != []


def test_what_follows_a_pack_is_noticed(pack: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptLayer), layer_of(tmp_path / "pack", pack + b"\0"):
        pass


def test_each_flipped_byte_is_found_and_none_is_shown(
    pack: bytes, expected: View, tmp_path: Path
) -> None:
    path = tmp_path / "pack"
    path.write_bytes(pack)
    shown_all_the_same = 0
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(pack):
            for pattern in PATTERNS:
                os.pwrite(file.fileno(), bytes([byte ^ pattern]), place)
                assert faults(path) != [], f"byte {place} ^ {pattern:#x}"
            shown_all_the_same += shows_nothing_wrong(path, expected)
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert faults(path) == []
    # Padding, and digests of pages that a view has no need of: there are few such bytes.
    assert shown_all_the_same < len(pack) // 4


def test_what_is_damaged_in_a_large_index_leaves_the_rest_alone(tmp_path: Path) -> None:
    """Pages are damaged one at a time: what needs none of it is shown, the rest is an error."""
    names = [b"file-%d" % number for number in range(3000)]
    data = write(lambda w: [w.add_file((name,), Metadata(), [name]) for name in names])
    footer = parse_footer(data[-FOOTER_SIZE:], len(data))
    path = tmp_path / "pack"
    with layer_of(path, data) as layer:
        expected = view(layer)
    wanted = {(name,): expected[name,] for name in names[::100]}
    partly = 0
    with path.open("r+b", buffering=0) as file:
        for page in range(footer.pages):
            place = footer.index_offset + page * PAGE_SIZE + page
            os.pwrite(file.fileno(), bytes([data[place] ^ 1]), place)
            with layer_of(path) as layer:
                shown = sum(shows_right(layer, name, wanted) for name in wanted)
            os.pwrite(file.fileno(), bytes([data[place]]), place)
            partly += 0 < shown < len(wanted)
    assert footer.pages > 16
    assert partly >= 10


def shows_nothing_wrong(path: Path, expected: View) -> bool:
    """Look everything up; whether all of it was there. What is, is as it was."""
    try:
        with layer_of(path) as layer:
            return sum(shows_right(layer, place, expected) for place in expected) == len(expected)
    except CorruptLayer:
        return False


def shows_right(layer: PackLayer, path: tuple[bytes, ...], expected: View) -> bool:
    """Whether one path can be read; asserts that it is what it was."""
    wanted = expected[path]
    if isinstance(wanted, str) or not path:
        return True
    try:
        directory = layer.root
        for name in path[:-1]:
            directory = directory.directory(name)
        found = directory.find(path[-1])
        assert found == wanted.attributes
        if wanted.content is not None:
            reader = directory.file(path[-1]).open_reader()
            assert reader.read(0, len(wanted.content)) == wanted.content
        if wanted.target is not None:
            assert directory.file(path[-1]).read_link() == wanted.target
        if stat.S_ISDIR(wanted.attributes.mode):
            child = directory.directory(path[-1])
            assert child.marks() == wanted.marks
            listed = {(*path, entry.name) for entry in child.entries() if entry.type}
            assert listed == {other for other in expected if other[:-1] == path and other[-1]}
        else:
            file = directory.file(path[-1])
            assert {name: file.get_xattr(name) for name in file.list_xattrs()} == wanted.xattrs
    except CorruptLayer:
        return False
    return True


def test_damage_names_the_chunk_and_its_files(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    data = write(
        lambda w: [w.add_file((b"d", b"f%d" % n), Metadata(), [os.urandom(3000)]) for n in (1, 2)]
    )
    path.write_bytes(bytes([*data[:64], data[64] ^ 1, *data[65:]]))

    with Pack(os.fsencode(path)) as pack:
        [damage] = verify(pack)
    assert damage.why == "chunk 0 is damaged: its bytes are not those that were written"
    assert damage.paths == ((b"d", b"f1"),)
    with layer_of(path) as layer:
        directory = layer.root.directory(b"d")
        with pytest.raises(CorruptLayer, match="chunk 0 is damaged"):
            directory.file(b"f1").open_reader().read(0, 10)
        assert len(directory.file(b"f2").open_reader().read(0, 3000)) == 3000


# Packs whose digests are right and whose tables are anything.


def use_all(path: Path) -> None:
    """Do all that a mount could ask for; any complaint must be about the layer."""
    with layer_of(path) as layer:
        pack = layer.pack
        for number in range(pack.index.inodes):
            tolerate(lambda number=number: layer.attributes_of(number, pack.index.inode(number)))
            tolerate(lambda number=number: pack.index.xattrs(pack.index.inode(number)))
            tolerate(lambda number=number: pack.index.paths_of(number))
            tolerate(lambda number=number: pack.index.path_of(number))
            tolerate(lambda number=number: use_data(layer, number))
        tolerate(lambda: list(walk(pack)))
        tolerate(lambda: use_names(layer))
        for name in (b"text", b"deep", b"gone", b"nothing"):
            tolerate(lambda name=name: layer.root.find(name))
            tolerate(lambda name=name: layer.root.deletes(name))


def use_names(layer: PackLayer) -> None:
    pending = [layer.root]
    while pending:
        directory = pending.pop()
        tolerate(directory.marks)
        for name, kind in directory.entries():
            tolerate(partial(directory.deletes, name))
            found = directory.find(name)
            if kind == stat.S_IFDIR:
                pending.append(directory.directory(name))
            elif isinstance(found, Attributes):
                tolerate(directory.file(name).origin)
            if kind == stat.S_IFLNK:
                tolerate(directory.file(name).read_link)


def use_data(layer: PackLayer, number: int) -> None:
    inode = layer.pack.index.inode(number)
    if stat.S_ISREG(inode.mode):
        reader = layer.pack.reader(inode)
        for offset in (0, 4000, max(0, inode.size - 100)):
            reader.read(offset, 200)
            reader.try_read(offset, 200)
        layer.pack.index.stored_bytes(inode)
        list(islice(reader.data_ranges(), 1000))
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            reader.seek(0, whence)


def tolerate(use: Callable[[], object]) -> None:
    with suppress(OSError):  # of a liar's file a reader may also say that it has no data
        use()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 1 << 20),
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from([b"\xff" * 4, b"\0" * 8, b"\xff" * 8, b"\x01\0\0\0"]),
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_tables_of_anything_end_in_an_error(
    pack: bytes, tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    def change(index: bytearray, sections: dict[int, tuple[int, int]]) -> None:
        for place, data in changes:
            start = place % (len(index) - len(data))
            index[start : start + len(data)] = data

    path = tmp_path / "pack"
    path.write_bytes(resealed(pack, change))

    use_all(path)
    faults(path)


def _set_inode(number: int, **fields: int) -> Callable[[bytearray, dict], None]:
    def change(index: bytearray, sections: dict[int, tuple[int, int]]) -> None:
        at = sections[SectionId.INODES][0] + number * INODE.size
        inode = Inode._make(INODE.unpack_from(index, at))
        INODE.pack_into(index, at, *inode._replace(**fields))

    return change


def _set_dirent(at: int, **fields: int) -> Callable[[bytearray, dict], None]:
    def change(index: bytearray, sections: dict[int, tuple[int, int]]) -> None:
        start = sections[SectionId.DIRENTS][0] + at * DIRENT.size
        names = ("hash", "name", "number", "length", "kind")
        record = dict(zip(names, DIRENT.unpack_from(index, start), strict=True))
        DIRENT.pack_into(index, start, *(record | fields).values())

    return change


LOOPS = {
    "the root in itself": _set_dirent(0, number=0, kind=4),
    "a child above its parent": _set_inode(4, size=5),
    "names without end": _set_inode(0, amount=0xFFFFFFFF),
    "extents without end": _set_inode(2, amount=0xFFFFFFFF),
    "a size without end": _set_inode(2, size=(1 << 64) - 1),
    "an address without end": _set_inode(1, first=(1 << 64) - 1),
    "a name of slashes": _set_dirent(0, name=0, length=255),
    "no directory": _set_inode(0, mode=stat.S_IFREG),
    "no type": _set_inode(1, mode=0o777),
    "flags": _set_inode(1, flags=int(Flag.SPARSE | Flag.INLINE)),
}


@pytest.mark.parametrize("case", LOOPS)
def test_a_liar_is_found_out(pack: bytes, tmp_path: Path, case: str) -> None:
    path = tmp_path / "pack"
    path.write_bytes(resealed(pack, LOOPS[case]))

    use_all(path)

    assert faults(path) != []


def test_a_bomb_takes_no_more_than_a_chunk(tmp_path: Path) -> None:
    """A block that would become longer than its record says is refused, not unpacked."""
    data = write(lambda w: w.add_file((b"zeros",), Metadata(), [bytes(4096)]))

    def shorten(index: bytearray, sections: dict[int, tuple[int, int]]) -> None:
        at = sections[SectionId.CHUNKS][0]
        index[at + 12 : at + 16] = (1 << 24 | 100).to_bytes(4, "little")

    with layer_of(tmp_path / "pack", resealed(data, shorten)) as layer:
        file = layer.root.file(b"zeros")
        with pytest.raises(CorruptLayer, match="chunk 0 is damaged"):
            file.open_reader().read(0, 50)
