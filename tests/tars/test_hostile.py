"""Tars that are damaged or attack: one error that says where, in bounded time and memory."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.tars.errors import BadTar
from overlayfs_py.tars.reader import TarReader
from tests.tars.making import BLOCK, END, GNU, binary, entry, header, pax, sealed
from tests.tars.reading import read_tar

if TYPE_CHECKING:
    from collections.abc import Iterator


def _flipped(block: bytes, at: int) -> bytes:
    return block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]


def _sparse(*pieces: tuple[int, int], size: int = 100, stored: int = 2) -> bytes:
    values = b",".join(b"%d,%d" % piece for piece in pieces)
    return pax((b"GNU.sparse.map", values), (b"GNU.sparse.size", b"%d" % size)) + entry(
        b"f", b"x" * stored
    )


def _old_sparse(*pieces: tuple[int, int], size: int = 100) -> bytes:
    block = bytearray(header(b"f", kind=b"S", size=2, magic=GNU))
    at = 386
    for piece in pieces:
        block[at : at + 24] = b"".join(binary(number) for number in piece)
        at += 24
    block[483:495] = binary(size)
    return sealed(bytes(block)) + b"xx".ljust(BLOCK, b"\0")


def _sparse_1(data: bytes) -> bytes:
    return pax(
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.realsize", b"9"),
    ) + entry(b"f", data)


BAD = {
    "no tar": (b"Hello" * 200, "checksum"),
    "a bit of a header flipped": (_flipped(header(), 3), "checksum"),
    "cut in a header": (header()[:-1], "in the middle"),
    "cut in data": (entry(b"f", b"x" * 600)[:1000], "in the middle"),
    "cut in padding": (entry(b"f", b"x" * 600)[:-1], "in the middle"),
    "cut after an extended header": (pax((b"path", b"x")), "in the middle"),
    "the end after an extended header": (pax((b"path", b"x")) + END, "no entry after"),
    "an empty block between": (END[:512] + header(), "empty block"),
    "out of the root": (header(b"../x"), "out of the layer"),
    "out of the root by detour": (header(b"a/../../x"), "out of the layer"),
    "out of the root, absolute": (header(b"/../x"), "out of the layer"),
    "out of the root by a prefix": (header(b"x", prefix=b".."), "out of the layer"),
    "a link out of the root": (header(kind=b"1", link=b"../x"), "out of the layer"),
    "the root as a link": (header(b".", kind=b"2", link=b"/"), "only be a directory"),
    "a NUL in a name": (pax((b"path", b"a\0b")) + header(), "damaged record"),
    "a component too long": (pax((b"path", b"n" * 256)) + header(), "256 bytes"),
    "a path too long": (pax((b"path", b"n/" * 2049)) + header(), "4098 bytes"),
    "a deletion of nothing": (header(b".wh."), "deletion"),
    "a deletion of the directory": (header(b"d/.wh.."), "deletion"),
    "a deletion of the parent": (header(b"d/.wh..."), "deletion"),
    "below a deletion": (header(b".wh.d/f"), "deletion"),
    "a negative size": (header(size=binary(-1)), "negative size"),
    "a size beyond 63 bits": (header(size=binary(1 << 70)), "64 bits"),
    "a size that is no number": (header(size=b"99999999999\0"), "octal"),
    "a size with a sign": (header(size=b"-0000000001\0"), "octal"),
    "a negative size in a record": (pax((b"size", b"-1")) + header(), "not a number"),
    "a size of many digits": (pax((b"size", b"9" * 500)) + header(), "not a number"),
    "a negative owner": (header(uid=binary(-1, 8)), "owner"),
    "an owner of 33 bits": (pax((b"uid", b"4294967296")) + header(), "owner"),
    "the owner that means none": (pax((b"gid", b"4294967295")) + header(), "owner"),
    "a device too large": (header(kind=b"3", device=b"0010000\x000000000\0"), "device"),
    "a time that is none": (pax((b"mtime", b"1e5")) + header(), "not a time"),
    "a time too late": (pax((b"mtime", b"9" * 19)) + header(), "not a time"),
    "an unknown type": (header(kind=b"Z"), "unknown type"),
    "a volume of several": (header(kind=b"M", magic=GNU), "unknown type"),
    "an empty link": (header(kind=b"2"), "0 bytes"),
    "a link too long": (pax((b"linkpath", b"x" * 4096)) + header(kind=b"2"), "4096 bytes"),
    "huge records": (header(kind=b"x", size=1 << 30), "1073741824 bytes"),
    "a huge name": (header(kind=b"L", size=(1 << 33) - 1, magic=GNU), "bytes"),
    "a negative name": (header(kind=b"L", size=binary(-5), magic=GNU), "-5 bytes"),
    "records without length": (entry(b"p", b"path=x\n", kind=b"x"), "damaged"),
    "a record longer than all": (entry(b"p", b"99 path=x\n", kind=b"x"), "damaged"),
    "a record of nothing": (entry(b"p", b"0 path=x\n", kind=b"x"), "damaged"),
    "a record without a key": (entry(b"p", b"5 =x\n", kind=b"x"), "damaged"),
    "a name for all": (pax((b"path", b"x"), kind=b"g") + header(), "global"),
    "an xattr without a name": (pax((b"SCHILY.xattr.", b"x")) + header(), "xattr"),
    "an xattr's name too long": (
        pax((b"SCHILY.xattr.user." + b"x" * 251, b"")) + header(),
        "xattr",
    ),
    "an xattr in no base 64": (pax((b"LIBARCHIVE.xattr.user.a", b"!")) + header(), "base 64"),
    "pieces that overlap": (_sparse((0, 1), (0, 1)), "overlap"),
    "pieces out of order": (_sparse((5, 1), (0, 1)), "overlap"),
    "a piece outside": (_sparse((0, 1), (100, 1)), "outside"),
    "less data than pieces": (_sparse((0, 1), (5, 5)), "2 bytes of data"),
    "more data than pieces": (_sparse((0, 1)), "2 bytes of data"),
    "half a piece": (
        pax((b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"9")) + entry(b"f", b"x"),
        "odd",
    ),
    "pieces in no order of records": (
        pax((b"GNU.sparse.numbytes", b"0"), (b"GNU.sparse.size", b"9")) + entry(b"f"),
        "out of order",
    ),
    "a sparse file without a size": (pax((b"GNU.sparse.map", b"0,1")) + entry(b"f"), "its size"),
    "a sparse file of the future": (
        pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.realsize", b"1")) + entry(b"f"),
        "unknown form",
    ),
    "an old map that overlaps": (_old_sparse((0, 1), (0, 1)), "overlap"),
    "an old map with negative numbers": (_old_sparse((-5, 2)), "overlap"),
    "an old map with a negative length": (_old_sparse((0, 4), (50, -2)), "overlap"),
    "an old map of a file below zero": (_old_sparse((0, 2), size=-1), "outside"),
    "a map without end": (_sparse_1(b"9\n0\n"), "does not end"),
    "a map of no numbers": (_sparse_1(b"x" * 1024), "without numbers"),
    "a map of too many": (_sparse_1(b"99999999\n".ljust(1024, b"0")), "more than"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tar_is_one_clear_error(case: str) -> None:
    tar, why = BAD[case]
    good = entry(b"good", b"data")

    with pytest.raises(BadTar) as caught:
        read_tar(good + tar)

    message = str(caught.value.strerror)
    assert why in message
    assert "bad tar at byte 1024" in message
    assert message.isprintable()


def test_an_error_names_the_entry() -> None:
    with pytest.raises(BadTar, match=r"\('etc/\\x0apasswd'\)"):
        read_tar(header(b"etc/\npasswd", kind=b"Z"))


def _endless(block: bytes) -> Iterator[bytes]:
    while True:
        yield block


_ENDLESS = {
    "map": sealed(_old_sparse((0, 2))[:482] + b"\1" + _old_sparse((0, 2))[483:512]),
    "map block": b"".join(b"%011o\0%011o\0" % (0, 0) for _ in range(21)) + b"\1" + bytes(7),
}


def test_a_map_that_never_ends_is_given_up() -> None:
    def blocks() -> Iterator[bytes]:
        yield _ENDLESS["map"]
        yield from _endless(_ENDLESS["map block"])

    with pytest.raises(BadTar, match="more than"):
        list(TarReader(blocks()))


def test_global_records_are_bounded() -> None:
    def blocks() -> Iterator[bytes]:
        number = 0
        while True:
            yield pax((b"SCHILY.xattr.user.%d" % number, b"x" * 5000), kind=b"g")
            number += 1

    with pytest.raises(BadTar, match="too much"):
        list(TarReader(blocks()))


def test_memory_does_not_grow_with_the_tar() -> None:
    def blocks() -> Iterator[bytes]:
        yield header(b"large", size=(1 << 30) // 2)
        zeros = bytes(1 << 20)
        for _ in range(512):
            yield zeros
        yield END

    tracemalloc.start()
    reader = TarReader(blocks())
    assert next(reader).size == 1 << 29
    total = sum(len(piece) for piece in reader.data() if isinstance(piece, memoryview))
    assert list(reader) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert total == 1 << 29
    assert peak < 4 << 20
