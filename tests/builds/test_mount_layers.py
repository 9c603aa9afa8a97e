"""Cache mounts as layers: what goes out comes back, and what is hostile stays out."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds import mount_layers
from overlayfs_py.errors import OverlayError
from overlayfs_py.store.store import Store
from overlayfs_py.transfer.made_layers import add_tar
from tests.support.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.additions import Addition


@pytest.fixture
def addition(tmp_path: Path) -> Iterator[Addition]:
    with Store.open(tmp_path / "store").add() as made:
        yield made


def test_a_cache_mount_comes_back_as_it_was(addition: Addition, tmp_path: Path) -> None:
    data, back = tmp_path / "data", tmp_path / "back"
    (data / "a/b").mkdir(parents=True)
    data.chmod(0o1770)
    os.chown(data, 33, 44)
    (data / "a/file").write_bytes(bytes(3 << 20) + b"end")
    (data / "a/file").chmod(0o4755)
    os.chown(data / "a/file", 1, 2)
    (data / "a/file").chmod(0o4755)
    os.setxattr(data / "a/file", "user.mime", b"x")
    os.link(data / "a/file", data / "z")
    (data / "link").symlink_to("/etc/passwd")
    (data / "empty").touch()
    os.utime(data / "empty", ns=(1, 1_234_567_890_123_456_789))
    before = snapshot(data)
    os.mkfifo(data / "a/b/pipe")
    os.mknod(data / "device", 0o20666, os.makedev(1, 3))
    (data / ".wh.gone").touch()

    layer = mount_layers.make_layer(addition, data)
    mount_layers.fill(layer, back)

    assert snapshot(back) == before
    assert (back.stat().st_uid, back.stat().st_mode & 0o7777) == (33, 0o1770)
    assert (back / "empty").stat().st_mtime_ns == 1_234_567_890_123_456_789


def _tar(name: str, kind: bytes, link: str = "", **pax: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.devmajor, info.devminor = kind, link, 1, 3
        info.pax_headers = {key.replace("_", "."): value for key, value in pax.items()}
        tar.addfile(info)
        if kind == tarfile.SYMTYPE:
            tar.addfile(tarfile.TarInfo(f"{name}/inside"))
    return out.getvalue()


@pytest.mark.parametrize(
    "tar",
    [
        _tar("null", tarfile.CHRTYPE),
        _tar("disk", tarfile.BLKTYPE),
        _tar("pipe", tarfile.FIFOTYPE),
        _tar("a/.wh.b", tarfile.REGTYPE),
        _tar("a/.wh..wh..opq", tarfile.REGTYPE),
        _tar("hard", tarfile.LNKTYPE, "../outside/kept"),
        b"no tar",
    ],
)
def test_a_hostile_one_is_refused(addition: Addition, tmp_path: Path, tar: bytes) -> None:
    target = tmp_path / "target"

    with pytest.raises(OverlayError):
        mount_layers.fill(add_tar(addition, [tar]), target)

    assert not target.exists()


@pytest.mark.parametrize(
    "tar",
    [
        _tar("../../outside/x", tarfile.REGTYPE),
        _tar("/outside/x", tarfile.REGTYPE),
        _tar("out", tarfile.SYMTYPE, "../outside"),
        _tar("set", tarfile.REGTYPE, SCHILY_xattr_trusted_overlay_opaque="y"),
    ],
)
def test_nothing_of_it_is_outside(addition: Addition, tmp_path: Path, tar: bytes) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    outside.mkdir()

    try:
        mount_layers.fill(add_tar(addition, [tar]), target)
    except OverlayError:
        assert not target.exists()

    assert list(outside.iterdir()) == []
    for path in target.rglob("*") if target.exists() else ():
        assert "trusted.overlay.opaque" not in os.listxattr(path, follow_symlinks=False)
