"""Copying data: the same bytes, the same holes, whatever the filesystem can."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.layers.reader import DescriptorReader, copy_data
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LENGTH = 3 << 20


@pytest.fixture
def source(tmp_path: Path) -> Iterator[DescriptorReader]:
    """Data, a hole, data, a hole."""
    path = tmp_path / "source"
    with path.open("wb") as file:
        file.write(b"head" * 1024)
        file.seek(1 << 20)
        file.write(b"middle" * 1000)
        file.truncate(_LENGTH)
    reader = DescriptorReader(os.open(path, os.O_RDONLY))
    yield reader
    reader.close()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, (1 << 20) + 3, _LENGTH])
@pytest.mark.parametrize("place", ["same filesystem", "/dev/shm"])
def test_a_copy_has_the_bytes_and_the_holes(
    source: DescriptorReader, tmp_path: Path, place: str, size: int
) -> None:
    path = tmp_path / "target" if place != "/dev/shm" else f"{place}/core-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.unlink(path)

    source.copy_to(fd, size)

    status = os.fstat(fd)
    assert status.st_size == size
    assert os.pread(fd, size + 1, 0) == source.read(0, size)
    assert status.st_blocks * 512 <= 64 << 10
    os.close(fd)


@pytest.mark.parametrize("refuses", [False, True])
def test_from_one_filesystem_to_another_the_kernel_copies_if_it_can(
    source: DescriptorReader, monkeypatch: pytest.MonkeyPatch, *, refuses: bool
) -> None:
    asked: list[int] = []
    by_hand: list[int] = []
    sendfile, pwrite = os.sendfile, os.pwrite

    def written(target_fd: int, data: bytes, offset: int) -> int:
        by_hand.append(len(data))
        return pwrite(target_fd, data, offset)

    def noted(target_fd: int, source_fd: int, offset: int, size: int) -> int:
        asked.append(size)
        if refuses:  # as for files of some filesystems
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return sendfile(target_fd, source_fd, offset, size)

    monkeypatch.setattr(os, "sendfile", noted)
    monkeypatch.setattr(os, "pwrite", written)
    fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)

    source.copy_to(fd, _LENGTH)

    assert os.pread(fd, _LENGTH + 1, 0) == source.read(0, _LENGTH)
    assert len(asked) == 2  # stretches of data
    assert len(by_hand) == (2 if refuses else 0)
    os.close(fd)


@pytest.mark.parametrize("syncs_soon", [False, True])
def test_the_disk_is_told_of_what_is_synced_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, syncs_soon: bool
) -> None:
    data, told = os.urandom(20 << 20), []
    (tmp_path / "source").write_bytes(data)
    begin_writing = files.begin_writing

    def noted(fd: int, offset: int, length: int) -> None:
        told.append(range(offset, offset + length))
        begin_writing(fd, offset, length)

    monkeypatch.setattr(files, "begin_writing", noted)
    reader = DescriptorReader(os.open(tmp_path / "source", os.O_RDONLY))
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)

    reader.copy_to(fd, len(data), syncs_soon=syncs_soon)

    assert os.pread(fd, len(data) + 1, 0) == data
    assert sum(map(len, told)) == (len(data) if syncs_soon else 0)
    os.close(fd)
    reader.close()


def test_a_source_that_has_shrunk_gives_zeros(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"short")
    source_fd = os.open(tmp_path / "source", os.O_RDONLY)
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)

    copy_data(source_fd, fd, 10)

    assert os.pread(fd, 20, 0) == b"short\0\0\0\0\0"
    os.close(fd)
    os.close(source_fd)


def test_a_read_is_short_at_the_end_alone(source: DescriptorReader) -> None:
    assert source.read(_LENGTH - 3, 10) == b"\0\0\0"
    assert source.read(_LENGTH, 10) == b""
    assert len(source.read(0, 2 << 20)) == 2 << 20
