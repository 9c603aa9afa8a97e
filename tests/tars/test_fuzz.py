"""Any bytes at all: a tar or its error, at once; and whatever is read can be made again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from overlayfs_py.tars.errors import BadTar
from tests.tars.making import BLOCK, END, GNU, binary, entry, header, pax, sealed
from tests.tars.reading import read_tar, rebuilt

_SPARSE = pax((b"GNU.sparse.map", b"0,1,50,1"), (b"GNU.sparse.size", b"99")) + entry(b"s", b"xx")
_SPARSE_1 = pax(
    (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")
) + entry(b"s", b"1\n5\n2\n".ljust(BLOCK, b"\0") + b"xx")
_OLD = bytearray(header(b"o", kind=b"S", size=1, magic=GNU))
_OLD[386:410] = b"%011o\0%011o\0" % (7, 1)
_OLD[482] = 1
_OLD[483:495] = binary(50)
_BASE = (
    entry(b"d/", kind=b"5")
    + pax((b"path", b"long/" * 50), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"b"))
    + entry(b"f", b"data")
    + entry(b"L", b"n/" * 150 + b"n\0", kind=b"L", magic=GNU)
    + entry(b"n", b"x" * 700)
    + pax((b"gid", b"7"), kind=b"g")
    + header(b"h", kind=b"1", link=b"d/f")
    + header(b"c", kind=b"3")
    + entry(b"d/.wh.x")
    + _SPARSE
    + _SPARSE_1
    + sealed(bytes(_OLD))
    + bytes(BLOCK)
    + b"x".ljust(BLOCK, b"\0")
    + END
)
_BLOCKS = len(_BASE) // BLOCK


def _attempt(tar: bytes) -> None:
    try:
        read = read_tar(tar, 700)
    except BadTar:
        return
    assert rebuilt(read, len(tar)) == tar


def test_the_base_is_good() -> None:
    assert len(read_tar(_BASE).members) == 9


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    _attempt(data)


_PATCHES = st.lists(
    st.tuples(st.integers(0, _BLOCKS - 1), st.integers(0, BLOCK - 1), st.binary(max_size=20)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400)
@given(_PATCHES)
def test_patched_headers_with_good_checksums(patches: list[tuple[int, int, bytes]]) -> None:
    tar = bytearray(_BASE)
    for block, at, patch in patches:
        start = block * BLOCK
        end = min(BLOCK, at + len(patch))
        tar[start + at : start + end] = patch[: end - at]
        if tar[start + 257 : start + 262] == b"ustar":
            tar[start : start + BLOCK] = sealed(bytes(tar[start : start + BLOCK]))
    _attempt(bytes(tar))


@given(st.integers(0, len(_BASE)), st.integers(0, len(_BASE)))
def test_cut_and_spliced(end: int, start: int) -> None:
    _attempt(_BASE[:end] + _BASE[start:])


@given(st.lists(st.integers(0, _BLOCKS - 1), max_size=_BLOCKS))
def test_blocks_in_any_order(order: list[int]) -> None:
    _attempt(b"".join(_BASE[block * BLOCK : (block + 1) * BLOCK] for block in order))
