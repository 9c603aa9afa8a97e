"""The starting point: whatever the placement, the prepared tree looks the same."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from tests.posix.prepared import MTIME_NS, VISIBLE
from tests.posix.registry import check
from tests.support.trees import Dir, File, HardLink, Symlink

if TYPE_CHECKING:
    from pathlib import Path


@check()
def every_name_is_there_and_no_other(root: Path) -> None:
    found = {""}
    for where, directories, files in os.walk(root):
        found |= {os.path.relpath(os.path.join(where, name), root) for name in directories + files}
    assert found == set(VISIBLE)


@check()
def every_object_has_its_attributes(root: Path) -> None:
    for name, node in VISIBLE.items():
        if isinstance(node, HardLink):
            continue
        found = os.lstat(root / name)
        assert (found.st_uid, found.st_gid, found.st_mtime_ns) == (node.uid, node.gid, MTIME_NS), (
            name
        )
        if not isinstance(node, Symlink):
            assert stat.S_IMODE(found.st_mode) == node.mode, name


@check()
def every_object_has_its_xattrs(root: Path) -> None:
    for name, node in VISIBLE.items():
        if isinstance(node, HardLink):
            continue
        path = root / name
        listed = os.listxattr(path, follow_symlinks=False)
        found = {key: os.getxattr(path, key, follow_symlinks=False) for key in listed}
        assert found == dict(node.xattrs), name


@check()
def every_file_has_its_content(root: Path) -> None:
    for name, node in VISIBLE.items():
        if isinstance(node, File):
            assert (root / name).read_bytes() == node.data, name
            assert os.stat(root / name).st_size == len(node.data), name


@check()
def what_a_layer_hides_cannot_be_opened(root: Path) -> None:
    for name in ("gone", "gonedir/child", "dir/gone", "empty/one", "empty/two", "opaque/old"):
        assert not os.path.lexists(root / name), name


@check()
def a_directory_counts_as_one(root: Path) -> None:
    kinds = {name for name, node in VISIBLE.items() if isinstance(node, Dir)}
    assert all(stat.S_ISDIR(os.lstat(root / name).st_mode) for name in kinds)
