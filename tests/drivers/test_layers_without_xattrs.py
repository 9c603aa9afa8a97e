"""Layers on a filesystem that has no xattrs, and answers EOPNOTSUPP to who asks for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls.mounts import mount, umount
from tests.drivers.serving import Stack, read_only, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def layer(stack: Stack) -> Iterator[Path]:
    base = stack.base / "without"
    base.mkdir()
    served = Stack(base)
    (served.lower / "directory").mkdir()
    (served.lower / "directory/inner").write_bytes(b"inner")
    (served.lower / "file").write_bytes(b"data")
    with serving(read_only(served.spec), served.plan, runner="no_xattrs_runner") as daemon:
        yield daemon.target


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "below another"])
def test_such_a_layer_is_read_and_copied_up(stack: Stack, layer: Path, *, alone: bool) -> None:
    lower = [os.fsencode(layer)] if alone else [os.fsencode(stack.lower), os.fsencode(layer)]
    with serving(stack.spec._replace(lower=tuple(lower)), stack.plan):
        assert sorted(os.listdir(stack.target)) == ["directory", "file"]
        assert (stack.target / "file").read_bytes() == b"data"
        assert os.listxattr(stack.target / "file") == []
        with (stack.target / "file").open("ab") as file:
            file.write(b", and more")
        (stack.target / "directory").chmod(0o700)
        (stack.target / "directory").rename(stack.target / "moved")
        (stack.target / "moved/inner").unlink()
        assert sorted(os.listdir(stack.target)) == ["file", "moved"]

    assert (stack.upper / "file").read_bytes() == b"data, and more"
    assert (layer / "file").read_bytes() == b"data"


@pytest.fixture
def ramfs(stack: Stack) -> Iterator[Path]:
    """A filesystem of the kernel's that has no xattrs, and can hold an upper."""
    place = stack.base / "ramfs"
    place.mkdir()
    mount(b"ramfs", os.fsencode(place), b"ramfs", 0)
    yield place
    umount(os.fsencode(place))


def test_a_copy_in_such_an_upper_has_none(stack: Stack, ramfs: Path) -> None:
    (stack.lower / "file").write_bytes(b"data")
    for name in ("upper", "work"):
        (ramfs / name).mkdir()
    upper, work = (os.fsencode(ramfs / name) for name in ("upper", "work"))
    with serving(stack.spec._replace(upper=upper, work=work), stack.plan):
        (stack.target / "file").chmod(0o600)
        names = os.listxattr(stack.target / "file")
        status = (ramfs / "upper/file").stat()

    assert names == []
    assert status.st_mode & 0o777 == 0o600
    assert (ramfs / "upper/file").read_bytes() == b"data"
