"""mmap(2): private and shared mappings, and how they agree with read(2) and write(2)."""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import refused
from tests.posix.prepared import BIG, TEXT
from tests.posix.processes import in_child
from tests.posix.registry import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHARED_READ = (os.O_RDONLY, mmap.MAP_SHARED, mmap.PROT_READ)
_SHARED_WRITE = (os.O_RDWR, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
_PRIVATE_WRITE = (os.O_RDONLY, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)


@contextmanager
def _mapped(path: Path, how: tuple[int, int, int], length: int = 0) -> Iterator[mmap.mmap]:
    """The mapped file, whose descriptor is closed already."""
    flags, visibility, protection = how
    with opened(path, flags) as descriptor:
        made = mmap.mmap(descriptor, length, flags=visibility, prot=protection)
    with made:
        yield made


@check()
def a_mapping_shows_the_file(root: Path) -> None:
    with _mapped(root / "big", _SHARED_READ) as mapped:
        assert mapped[:] == BIG


@check()
def a_shared_write_is_read_by_descriptor(root: Path) -> None:
    with _mapped(root / "file", _SHARED_WRITE) as mapped:
        mapped[0:4] = b"MAPP"
        with opened(root / "file") as descriptor:
            assert os.read(descriptor, 9) == b"MAPPared\n"
    assert (root / "file").read_bytes() == b"MAPPared\n"


@check()
def a_shared_write_stays_after_a_flush(root: Path) -> None:
    with _mapped(root / "big", _SHARED_WRITE) as mapped:
        mapped[5000:5004] = b"FLSH"
        mapped.flush()
    assert (root / "big").read_bytes() == BIG[:5000] + b"FLSH" + BIG[5004:]


@check()
def a_private_write_stays_private(root: Path) -> None:
    with _mapped(root / "file", _PRIVATE_WRITE) as mapped:
        mapped[0:4] = b"MINE"
        assert mapped[:] == b"MINEared\n"
        assert (root / "file").read_bytes() == TEXT


@check()
def a_write_by_descriptor_shows_in_a_shared_mapping(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.write(descriptor, TEXT[:1])
        with _mapped(root / "file", _SHARED_READ) as mapped:
            os.pwrite(descriptor, b"SEEN", 0)
            assert mapped[0:4] == b"SEEN"


@check()
def a_mapping_made_before_the_first_write_shows_it(root: Path) -> None:
    with _mapped(root / "file", _SHARED_READ) as mapped:
        assert mapped[0:4] == TEXT[:4]
        overwrite(root / "file", b"SEEN")
        assert mapped[0:4] == b"SEEN"


@check()
def two_mappings_of_one_file_agree(root: Path) -> None:
    with (
        _mapped(root / "first", _SHARED_WRITE) as one,
        _mapped(root / "second", _SHARED_READ) as two,
    ):
        one[0:6] = b"AGREED"
        assert two[0:6] == b"AGREED"


@check()
def processes_share_a_mapping(root: Path) -> None:
    def write() -> None:
        with _mapped(root / "file", _SHARED_WRITE) as mapped:
            mapped[0:5] = b"CHILD"

    with _mapped(root / "file", _SHARED_WRITE) as mapped:
        in_child(write)
        assert mapped[0:5] == b"CHILD"


@check()
def a_mapping_outlives_rename_and_unlink(root: Path) -> None:
    with _mapped(root / "file", _SHARED_WRITE) as mapped:
        os.rename(root / "file", root / "moved")
        mapped[0:1] = b"M"
        assert (root / "moved").read_bytes()[:1] == b"M"
        os.unlink(root / "moved")
        mapped[0:1] = b"U"
        mapped.flush()
        assert mapped[0:2] == b"U" + TEXT[1:2]


@check()
def the_rest_of_the_last_page_is_zeros_and_not_written(root: Path) -> None:
    with _mapped(root / "file", _SHARED_WRITE, len(TEXT)) as mapped:
        mapped[0:1] = b"P"
        mapped.flush()
    assert os.lstat(root / "file").st_size == len(TEXT)
    os.truncate(root / "file", 100)
    assert (root / "file").read_bytes() == b"P" + TEXT[1:] + bytes(100 - len(TEXT))


@check()
def a_grown_file_shows_in_a_mapping_made_after(root: Path) -> None:
    create(root / "new", b"x" * 4096)
    with opened(root / "new", os.O_RDWR) as descriptor:
        os.ftruncate(descriptor, 12288)
        with _mapped(root / "new", _SHARED_WRITE, 12288) as mapped:
            assert mapped[4095:4097] == b"x\0"
            mapped[12287:12288] = b"e"
            assert os.pread(descriptor, 2, 12286) == b"\0e"


@check()
def a_read_only_descriptor_gives_no_shared_writing(root: Path) -> None:
    with opened(root / "file") as descriptor, refused(errno.EACCES):
        mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    with opened(root / "file", os.O_WRONLY) as descriptor, refused(errno.EACCES):
        mmap.mmap(descriptor, len(TEXT), flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)


@check()
def a_directory_is_not_mapped(root: Path) -> None:
    with opened(root / "dir") as descriptor, refused(errno.ENODEV):
        mmap.mmap(descriptor, 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)


@check()
def a_mapping_is_written_with_what_another_mapping_reads(root: Path) -> None:
    with (
        _mapped(root / "big", _SHARED_READ) as source,
        opened(root / "new", os.O_CREAT | os.O_RDWR) as descriptor,
    ):
        assert os.write(descriptor, source) == len(BIG)
    assert (root / "new").read_bytes() == BIG


@check()
def a_mapped_page_is_written_into_the_same_file(root: Path) -> None:
    with _mapped(root / "big", _SHARED_READ) as mapped:
        with opened(root / "big", os.O_RDWR) as descriptor:
            os.pwrite(descriptor, memoryview(mapped)[8192:16384], 0)
        assert mapped[0:8192] == BIG[8192:16384]
