"""What a later object does to an earlier one, and what a pack cannot hold."""

from __future__ import annotations

import errno
import io
import os
import stat
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.layers.values import Absence
from overlayfs_py.packs.errors import BadEntry
from overlayfs_py.packs.format import SectionId
from overlayfs_py.packs.values import Hole, Metadata, PackOptions
from overlayfs_py.packs.writer import PackWriter
from tests.packs.reading import SMALL, WHITEOUT, Shown, faults, layer_of, paths_of, view, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.packs.reading import View

META = Metadata()


def shown(tmp_path: Path, fill: Callable[[PackWriter], object]) -> View:
    pack = tmp_path / "pack"
    pack.write_bytes(write(fill))
    assert faults(pack) == []
    with layer_of(pack) as layer:
        return view(layer)


def brief(tmp_path: Path, fill: Callable[[PackWriter], object]) -> dict[bytes, object]:
    """Paths, and of files what they hold."""
    return {
        b"/".join(path): item.content if isinstance(item, Shown) else item
        for path, item in shown(tmp_path, fill).items()
    }


REPLACED = {
    "file over file": (
        lambda w: (w.add_file((b"a",), META, [b"1"]), w.add_file((b"a",), META, [b"2"])),
        {b"": None, b"a": b"2"},
    ),
    "directory over directory": (
        lambda w: (w.add_file((b"a", b"b"), META, [b"1"]), w.add_directory((b"a",), META)),
        {b"": None, b"a": None, b"a/b": b"1"},
    ),
    "file over directory": (
        lambda w: (w.add_file((b"a", b"b", b"c"), META, [b"1"]), w.add_file((b"a",), META, [])),
        {b"": None, b"a": b""},
    ),
    "directory over file": (
        lambda w: (w.add_file((b"a",), META, [b"1"]), w.add_directory((b"a",), META)),
        {b"": None, b"a": None},
    ),
    "below a file": (
        lambda w: (w.add_file((b"a",), META, [b"1"]), w.add_file((b"a", b"b"), META, [b"2"])),
        {b"": None, b"a": None, b"a/b": b"2"},
    ),
    "below a link": (
        lambda w: (w.add_symlink((b"a",), META, b"/"), w.add_file((b"a", b"b"), META, [b"2"])),
        {b"": None, b"a": None, b"a/b": b"2"},
    ),
    "directory, file, directory": (
        lambda w: (
            w.add_file((b"a", b"b"), META, [b"1"]),
            w.add_file((b"a",), META, []),
            w.add_file((b"a", b"c"), META, [b"2"]),
        ),
        {b"": None, b"a": None, b"a/c": b"2"},
    ),
    "whiteout beside a directory": (
        lambda w: (w.add_whiteout((b"a",)), w.add_directory((b"a",), META)),
        {b"": None, b"a": None, b"a/": WHITEOUT},
    ),
    "whiteout beside a file": (
        lambda w: (w.add_file((b"a",), META, [b"1"]), w.add_whiteout((b"a",))),
        {b"": None, b"a": b"1"},
    ),
    "whiteout in a directory that goes": (
        lambda w: (w.add_whiteout((b"a", b"b")), w.add_file((b"a",), META, [b"1"])),
        {b"": None, b"a": b"1"},
    ),
    "device 0:0": (
        lambda w: w.add_special((b"a",), stat.S_IFCHR, META, 0),
        {b"": None, b"a/": WHITEOUT},
    ),
    "link to what goes": (
        lambda w: (
            w.add_file((b"a",), META, [b"1"]),
            w.add_link((b"b",), (b"a",)),
            w.add_file((b"a",), META, [b"2"]),
        ),
        {b"": None, b"a": b"2", b"b": b"1"},
    ),
    "link over its own file": (
        lambda w: (w.add_file((b"a",), META, [b"1"]), w.add_link((b"a",), (b"a",))),
        {b"": None, b"a": b"1"},
    ),
}


@pytest.mark.parametrize("case", REPLACED)
def test_what_comes_later_wins(tmp_path: Path, case: str) -> None:
    fill, expected = REPLACED[case]

    assert brief(tmp_path, fill) == expected


def test_a_directory_described_late_keeps_its_children_and_its_mark(tmp_path: Path) -> None:
    def fill(writer: PackWriter) -> None:
        writer.mark_opaque((b"a",))
        writer.add_file((b"a", b"b"), META, [b"1"])
        writer.add_directory((b"a",), Metadata(0o2711, 3, 4, 5_000_000_006, 7))

    seen = shown(tmp_path, fill)[b"a",]

    assert isinstance(seen, Shown)
    found = seen.attributes
    assert (found.mode, found.uid, found.gid) == (stat.S_IFDIR | 0o2711, 3, 4)
    assert (found.mtime_ns, found.atime_ns) == (5_000_000_006, 7)
    assert seen.marks is not None
    assert seen.marks.opaque


def test_a_parent_that_nobody_describes_is_roots(tmp_path: Path) -> None:
    seen = shown(tmp_path, lambda w: w.add_file((b"a", b"b"), META, []))[b"a",]

    assert isinstance(seen, Shown)
    found = seen.attributes
    assert (found.mode, found.uid, found.gid, found.mtime_ns) == (stat.S_IFDIR | 0o755, 0, 0, 0)


def test_links_are_counted_and_found(tmp_path: Path) -> None:
    def fill(writer: PackWriter) -> None:
        writer.add_file((b"a",), META, [b"1"])
        writer.add_link((b"d", b"b"), (b"a",))
        writer.add_link((b"c",), (b"d", b"b"))
        writer.add_symlink((b"c",), META, b"gone again")

    with layer_of(tmp_path / "pack", write(fill)) as layer:
        file = layer.root.file(b"a")

        assert file.attributes().nlink == 2
        assert sorted(paths_of(layer, file)) == [(b"a",), (b"d", b"b")]
        assert layer.root.directory(b"d").find(b"b") == file.attributes()
        assert layer.root.attributes().nlink == 3
        assert layer.root.directory(b"d").attributes().nlink == 2


def test_replaced_data_stays_readable_by_its_number(tmp_path: Path) -> None:
    numbers = []

    def fill(writer: PackWriter) -> None:
        numbers.append(writer.add_file((b"a",), META, [b"old" * 5000]))
        numbers.append(writer.add_file((b"a",), META, [b"new"]))

    with layer_of(tmp_path / "pack", write(fill)) as layer:
        pack = layer.pack
        old, new = (pack.index.inode(number) for number in numbers)

        assert pack.reader(old).read(0, 1 << 20) == b"old" * 5000
        assert old.nlink == 0
        assert pack.reader(new).read(0, 1 << 20) == b"new"


def test_a_name_that_only_its_hash_has_is_missing(tmp_path: Path) -> None:
    # CRC-32 is linear: these two have the same.
    same = (b"plumless", b"buckeroo")

    with layer_of(tmp_path / "pack", write(lambda w: w.add_file((same[0],), META, []))) as layer:
        assert layer.root.find(same[1]) is Absence.MISSING
    both = write(lambda w: [w.add_file((name,), META, [name]) for name in same])
    with layer_of(tmp_path / "pack", both) as layer:
        for name in same:
            assert layer.root.file(name).open_reader().read(0, 99) == name


BAD = {
    "dot": lambda w: w.add_file((b"a", b"."), META, []),
    "up": lambda w: w.add_directory((b"..", b"a"), META),
    "empty": lambda w: w.add_whiteout((b"",)),
    "slash": lambda w: w.add_symlink((b"a/b",), META, b"x"),
    "nul": lambda w: w.add_special((b"a\0b",), stat.S_IFIFO, META),
    "too long": lambda w: w.add_file((b"n" * 256,), META, []),
    "deletion": lambda w: w.add_file((b".wh.a",), META, []),
    "deletion as a parent": lambda w: w.add_file((b".wh.a", b"b"), META, []),
    "file for a root": lambda w: w.add_file((), META, []),
    "empty target": lambda w: w.add_symlink((b"a",), META, b""),
    "long target": lambda w: w.add_symlink((b"a",), META, b"t" * 4096),
    "special directory": lambda w: w.add_special((b"a",), stat.S_IFDIR, META),
    "link to nothing": lambda w: w.add_link((b"a",), (b"b",)),
    "link to a directory": lambda w: (
        w.add_directory((b"b",), META),
        w.add_link((b"a",), (b"b",)),
    ),
    "owner": lambda w: w.add_file((b"a",), Metadata(uid=1 << 32), []),
    "time": lambda w: w.add_file((b"a",), Metadata(mtime_ns=1 << 96), []),
    "xattr twice": lambda w: w.add_file((b"a",), Metadata(xattrs=((b"u.x", b""),) * 2), []),
    "xattr without a name": lambda w: w.add_file((b"a",), Metadata(xattrs=((b"", b""),)), []),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_pack_can_hold_is_refused_and_leaves_no_trace(tmp_path: Path, case: str) -> None:
    def fill(writer: PackWriter) -> None:
        with pytest.raises(BadEntry):
            BAD[case](writer)

    left = brief(tmp_path, fill)

    assert set(left) <= {b"", b"a", b"b"}
    assert b"a" not in left or left[b"a"] is None


def test_what_a_link_lacks_is_an_errno() -> None:
    writer = PackWriter(io.BytesIO())

    with pytest.raises(BadEntry) as caught:
        writer.add_link((b"a",), (b"b",))

    assert caught.value.errno == errno.ENOENT
    assert "/b, which is not in this layer" in str(caught.value)


def test_the_same_input_gives_the_same_bytes() -> None:
    def fill(writer: PackWriter) -> None:
        for number in range(300):
            path = (b"d%d" % (number % 7), b"f%d" % number)
            writer.add_file(path, Metadata(mtime_ns=number), [b"%d" % number * number])

    assert write(fill) == write(fill)
    assert write(fill, PackOptions(level=9)) == write(fill, PackOptions(level=9))


def test_how_data_is_cut_makes_no_difference() -> None:
    data = os.urandom(3 * 4096 + 700)

    def add(*pieces: int) -> bytes:
        cuts = (0, *pieces, len(data))
        parts = [data[start:end] for start, end in pairwise(cuts)]
        return write(lambda w: w.add_file((b"a",), META, parts))

    assert add() == add(1) == add(4096) == add(4095, 4097, 12_288) == add(0, 0, 5000)


class OneWay(io.RawIOBase):
    """A pipe of sorts: takes a little at a time, and never goes back."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        piece = bytes(data[:1000])
        self.taken += piece
        return len(piece)


def test_a_pack_is_written_as_a_stream() -> None:
    data = [b"y" * 9000, Hole(5), b"x" * 70_000]
    out = OneWay()
    writer = PackWriter(out, SMALL)
    writer.add_file((b"a",), META, data)
    summary = writer.finish()

    expected = write(lambda w: w.add_file((b"a",), META, data))
    assert bytes(out.taken) == expected
    assert summary.file_size == len(expected)
    assert summary.digest == expected[-32:]
    assert summary.data_bytes == 79_000
    assert summary.counts.names == summary.counts.files == 1


def test_sections_of_others_are_kept(tmp_path: Path) -> None:
    def fill(writer: PackWriter) -> None:
        writer.add_section(98, b"split" * 10_000)
        writer.add_section(99, b"unknown")
        for taken in (98, SectionId.INODES):
            with pytest.raises(ValueError, match="there already"):
                writer.add_section(taken, b"")

    with layer_of(tmp_path / "pack", write(fill)) as layer:
        assert layer.pack.index.section(98) == b"split" * 10_000
        assert layer.pack.index.section(99) == b"unknown"
        assert layer.pack.index.section(SectionId.ORIGIN) is None
    assert faults(tmp_path / "pack") == []
