"""What a command has changed in a copy of what layers show, by inodes and ctimes, or by all."""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds import tree_stamps
from overlayfs_py.builds.exact_files import ExactWriting
from overlayfs_py.builds.tree_changes import TreeFiles
from overlayfs_py.containers.image_files import ImageFiles

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    (layer / "d/deep").mkdir(parents=True)
    for name in ("same", "bytes", "mapped", "mode", "gone", "d/deep/renamed", "d/other", "skip"):
        (layer / name).write_text("old\n")
    (layer / "fifo").symlink_to("same")
    os.link(layer / "same", layer / "d/link")
    return layer


def change(root: Path) -> None:
    def keep_times(path: Path, data: bytes) -> None:
        before = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    keep_times(root / "bytes", b"new\n")
    before = (root / "mapped").stat()
    with (root / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:3] = b"new"
    os.utime(root / "mapped", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "mode").chmod(0o600)
    (root / "gone").unlink()
    (root / "d/deep/renamed").rename(root / "d/deep/new")
    (root / "skip").write_text("covered\n")
    os.utime(root, ns=(1, 1))


@pytest.mark.parametrize("tells", [True, False], ids=["by ctime", "by content"])
def test_every_change_is_found(layer: Path, tmp_path: Path, *, tells: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with ImageFiles((), below=[bytes(layer)]) as before:
        writing = ExactWriting(before, bytes(root))
        writing.write_all()
        writing.describe_directories()
        writing.close()
        stamps = tree_stamps.read(bytes(root))
        assert tree_stamps.settle(bytes(tmp_path), stamps)
        change(root)
        touched = tree_stamps.touched(stamps, tree_stamps.read(bytes(root))) if tells else None
        with TreeFiles(before, bytes(root), touched, [(b"skip",)]) as files:
            found = {b"/".join(each.path): each.kind.value for each in files.layer()}

    assert found == {
        b"bytes": "C",
        b"mapped": "C",
        b"mode": "C",
        b"gone": "D",
        b"d": "C",
        b"d/deep": "C",
        b"d/deep/renamed": "D",
        b"d/deep/new": "A",
    }


def test_a_clock_that_went_back_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_stamps, "_PATIENCE_S", 0.02)
    later_ns = time.time_ns() + 10**10

    assert tree_stamps.settle(bytes(tmp_path), {})
    assert not tree_stamps.settle(bytes(tmp_path), {(): {b"name": (1, later_ns)}})
