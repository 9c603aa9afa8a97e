from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def descriptor(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def tmpfs(target: Path, flags: int = 0) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    mounts.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, b"size=1m")
    try:
        yield target
    finally:
        mounts.umount(os.fsencode(target), mounts.MNT_DETACH)


def is_mounted(path: Path) -> bool:
    return os.path.ismount(path)


def test_mount_and_umount(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "m") as target:
        assert is_mounted(target)

    assert not is_mounted(target)


def test_an_error_names_the_target(tmp_path: Path) -> None:
    missing = os.fsencode(tmp_path / "missing")

    with pytest.raises(FileNotFoundError) as mounting:
        mounts.mount(b"tmpfs", missing, b"tmpfs", 0)
    with pytest.raises(FileNotFoundError) as unmounting:
        mounts.umount(missing)
    with pytest.raises(FileNotFoundError) as cloning:
        mounts.detached_clone(missing, read_only=True, noatime=True)

    assert [caught.value.filename for caught in (mounting, unmounting, cloning)] == [missing] * 3


def test_a_read_only_clone_refuses_writes_where_its_mount_allows_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")

    with descriptor(
        mounts.detached_clone(os.fsencode(tmp_path), read_only=True, noatime=True)
    ) as clone:
        with pytest.raises(OSError, match="Read-only") as caught:
            os.open("file", os.O_WRONLY, dir_fd=clone)
        with pytest.raises(OSError, match="Read-only"):
            os.utime("file", dir_fd=clone)
        with descriptor(os.open("file", os.O_RDONLY, dir_fd=clone)) as fd:
            assert os.read(fd, 10) == b"data"

    assert caught.value.errno == errno.EROFS


def test_a_noatime_clone_leaves_atime_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"data")
    os.utime(file, ns=(1, 2_000_000_000))  # atime before mtime: relatime would update it

    with (
        descriptor(
            mounts.detached_clone(os.fsencode(tmp_path), read_only=False, noatime=True)
        ) as clone,
        descriptor(os.open("file", os.O_RDONLY, dir_fd=clone)) as fd,
    ):
        os.read(fd, 10)

    assert file.stat().st_atime_ns == 1


def test_a_writable_clone_writes_to_the_same_files(tmp_path: Path) -> None:
    with descriptor(
        mounts.detached_clone(os.fsencode(tmp_path), read_only=False, noatime=False)
    ) as clone:
        os.mkdir("made", dir_fd=clone)

    assert (tmp_path / "made").is_dir()


def test_a_clone_does_not_show_mounts_below_it(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    with tmpfs(tmp_path / "before") as before:
        (before / "hidden").touch()
        with (
            descriptor(
                mounts.detached_clone(os.fsencode(tmp_path), read_only=True, noatime=True)
            ) as clone,
            tmpfs(tmp_path / "after") as after,
        ):
            (after / "hidden").touch()
            seen = [os.listdir(f"/proc/self/fd/{clone}/{name}") for name in ("before", "after")]

    assert seen == [[], []]


def test_a_clone_outlives_its_mount(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "m") as target:
        (target / "file").write_bytes(b"still here")
        clone = mounts.detached_clone(os.fsencode(target), read_only=True, noatime=True)

    with descriptor(clone), descriptor(os.open("file", os.O_RDONLY, dir_fd=clone)) as fd:
        assert os.read(fd, 100) == b"still here"


def test_a_clone_can_be_attached(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "file").touch()
    target = os.fsencode(tmp_path / "to")

    clone = mounts.detached_clone(os.fsencode(tmp_path / "from"), read_only=True, noatime=False)
    with descriptor(clone):
        mounts.move_mount(clone, target)
        try:
            assert os.listdir(target) == [b"file"]
        finally:
            mounts.umount(target, mounts.MNT_DETACH)


def test_open_tree_accepts_a_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        descriptor(os.open(tmp_path, os.O_PATH)) as directory,
        descriptor(mounts.open_tree_clone(directory)) as clone,
    ):
        names = os.listdir(f"/proc/self/fd/{clone}")

    assert names == ["file"]


def test_a_clone_with_submounts_shows_those_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    with tmpfs(tmp_path / "before") as before:
        (before / "shown").touch()
        with (
            descriptor(
                mounts.detached_clone(
                    os.fsencode(tmp_path), read_only=True, noatime=True, submounts=True
                )
            ) as clone,
            tmpfs(tmp_path / "after") as after,
        ):
            (after / "hidden").touch()
            seen = [os.listdir(f"/proc/self/fd/{clone}/{name}") for name in ("before", "after")]
            with pytest.raises(OSError, match="Read-only"):
                os.open("before/shown", os.O_WRONLY, dir_fd=clone)

    assert seen == [["shown"], []]
