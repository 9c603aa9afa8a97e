from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.drivers.mountinfo import topmost
from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plain_directory_is_no_mount(tmp_path: Path) -> None:
    assert topmost(os.fsencode(tmp_path)) is None


def test_the_topmost_of_two_mounts_is_found(tmp_path: Path) -> None:
    target = os.fsencode(tmp_path)
    mounts.mount(b"first", target, b"tmpfs", 0)
    mounts.mount(b"second", target, b"tmpfs", 0)
    try:
        on_top = topmost(target)
        mounts.umount(target)
        below = topmost(target)
    finally:
        mounts.umount(target)

    assert on_top is not None
    assert below is not None
    assert (on_top.source, below.source) == (b"second", b"first")
    assert on_top.ident != below.ident


def test_a_name_with_spaces_and_newlines_is_found(tmp_path: Path) -> None:
    target = os.fsencode(tmp_path / "a b\tc\nd\\040")
    os.mkdir(target)
    mounts.mount(b"my source", target, b"tmpfs", 0)
    try:
        found = topmost(target)
    finally:
        mounts.umount(target)

    assert found is not None
    assert found.source == b"my source"
    assert found.kind == b"tmpfs"
