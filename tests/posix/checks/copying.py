"""sendfile(2), splice(2) and copy_file_range(2): copies that the kernel makes."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened
from tests.posix.expecting import names, refused
from tests.posix.prepared import BIG, TEXT
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR


@check()
def sendfile_copies_between_files(root: Path) -> None:
    with opened(root / "big") as source, opened(root / "new", _NEW) as target:
        sent = 0
        while sent < len(BIG):
            sent += os.sendfile(target, source, sent, len(BIG))
    assert (root / "new").read_bytes() == BIG


@check()
def splice_copies_into_a_pipe_and_out(root: Path) -> None:
    read_end, write_end = os.pipe()
    with opened(root / "file") as source, opened(root / "new", _NEW) as target:
        assert os.splice(source, write_end, 100) == len(TEXT)
        assert os.splice(read_end, target, 100, offset_dst=5) == len(TEXT)
    os.close(read_end)
    os.close(write_end)
    assert (root / "new").read_bytes() == bytes(5) + TEXT


@check()
def copy_file_range_copies_a_whole_file(root: Path) -> None:
    with opened(root / "big") as source, opened(root / "new", _NEW) as target:
        while os.copy_file_range(source, target, len(BIG)):
            pass
    assert (root / "new").read_bytes() == BIG


@check()
def copy_file_range_copies_between_offsets(root: Path) -> None:
    with opened(root / "big") as source, opened(root / "file", os.O_RDWR) as target:
        assert os.copy_file_range(source, target, 5000, offset_src=1001, offset_dst=3) == 5000
        assert os.lseek(source, 0, os.SEEK_CUR) == 0
    assert (root / "file").read_bytes() == TEXT[:3] + BIG[1001:6001]


@check()
def copy_file_range_copies_within_a_file(root: Path) -> None:
    with opened(root / "big", os.O_RDWR) as descriptor:
        copied = os.copy_file_range(descriptor, descriptor, 4096, offset_src=0, offset_dst=8192)
        assert copied == 4096
        with refused(errno.EINVAL):
            os.copy_file_range(descriptor, descriptor, 4096, offset_src=0, offset_dst=100)
    assert (root / "big").read_bytes() == BIG[:8192] + BIG[:4096] + BIG[12288:]


@check()
def copy_file_range_takes_fitting_descriptors(root: Path) -> None:
    with opened(root / "big") as reader, opened(root / "file") as other, refused(errno.EBADF):
        os.copy_file_range(reader, other, 10)
    with (
        opened(root / "dir") as directory,
        opened(root / "new", _NEW) as target,
        refused(errno.EISDIR),
    ):
        os.copy_file_range(directory, target, 10)


@check()
def a_copied_tree_is_equal(root: Path) -> None:
    for name in ("dir", "full", "opaque", "attrdir"):
        shutil.copytree(root / name, root / "empty" / name, symlinks=True)
        assert names(root / "empty" / name) == names(root / name)
    assert (root / "empty/dir/sub/deep").read_bytes() == b"deep"
    assert os.lstat(root / "empty/full").st_mtime_ns == os.lstat(root / "full").st_mtime_ns
    assert os.getxattr(root / "empty/attrdir", "user.colour") == b"green"


@check()
def an_open_file_is_copied_while_it_is_replaced(root: Path) -> None:
    with opened(root / "file") as source:
        create(root / "other", b"other")
        os.rename(root / "other", root / "file")
        with opened(root / "new", _NEW) as target:
            assert os.copy_file_range(source, target, 100) == len(TEXT)
    assert (root / "new").read_bytes() == TEXT
