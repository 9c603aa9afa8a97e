"""Layers as packs or as directories, of root or of an ordinary user: the same image."""

from __future__ import annotations

import io
import os
import pickle
import pwd
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers.image_files import ImageFiles
from overlayfs_py.mounts import children
from overlayfs_py.store.store import Store
from tests.support.oci_layout import Layer, write_layout
from tests.system.processes import attempt
from tests.system.unprivileged import USER, as_user
from tests.transfer.registries import PROGRAM
from tests.transfer.test_pull import push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.mounts.children import Report
    from tests.support.docker_registry import DockerRegistry
    from tests.transfer.registries import Ours


def _tar(*members: tuple[str, dict[str, object]]) -> Layer:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, facts in members:
            info = tarfile.TarInfo(name)
            for key, value in facts.items():
                setattr(info, key, value)
            info.size = len(name) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(name.encode()))
    return Layer(out.getvalue(), out.getvalue(), "application/vnd.oci.image.layer.v1.tar")


_DIRECTORY = {"type": tarfile.DIRTYPE, "mode": 0o755}
BASE = _tar(
    ("etc", _DIRECTORY),
    ("etc/shadow", {"mode": 0o640, "gid": 42}),
    ("etc/gone", {"mode": 0o644}),
    ("bin", _DIRECTORY),
    ("bin/hidden", {"mode": 0o755}),
    ("sbin", _DIRECTORY | {"mode": 0o700, "uid": 7}),
    ("sbin/su", {"mode": 0o4755}),
    ("sbin/sudo", {"type": tarfile.LNKTYPE, "linkname": "sbin/su"}),
    ("null", {"type": tarfile.CHRTYPE, "mode": 0o666, "devmajor": 1, "devminor": 3}),
)
TOP = _tar(
    ("etc", _DIRECTORY | {"mode": 0o711}),
    ("etc/.wh.gone", {}),
    ("bin", _DIRECTORY),
    ("bin/.wh..wh..opq", {}),
    ("bin/sh", {"mode": 0o755}),
)
SHOWN = {
    "bin": (stat.S_IFDIR | 0o755, 0, 0, 1),
    "bin/sh": (stat.S_IFREG | 0o755, 0, 0, 1),
    "etc": (stat.S_IFDIR | 0o711, 0, 0, 1),
    "etc/shadow": (stat.S_IFREG | 0o640, 0, 42, 1),
    "null": (stat.S_IFCHR | 0o666, 0, 0, 1),
    "sbin": (stat.S_IFDIR | 0o700, 7, 0, 1),
    "sbin/su": (stat.S_IFREG | 0o4755, 0, 0, 2),
    "sbin/sudo": (stat.S_IFREG | 0o4755, 0, 0, 2),
}


def shown(root: Path, name: str) -> dict[str, tuple[int, int, int, int]]:
    """Type and mode, owner, links of everything in an image."""
    _, layers = Store.open(root).use_image(name)
    with layers, ImageFiles(layers.layers) as files:
        found = {b"/".join(file.path).decode(): file.attributes for file in files.walk()}
    return {
        path: (each.mode, each.uid, each.gid, 1 if stat.S_ISDIR(each.mode) else each.nlink)
        for path, each in found.items()
        if path
    }


@pytest.fixture
def name(registry: DockerRegistry, tmp_path: Path) -> str:
    write_layout(tmp_path / "oci", [BASE, TOP])
    path = f"forms/{tmp_path.name.replace('_', '-').lower()}:1"
    return push(tmp_path / "oci", registry, path, "--preserve-digests")


@pytest.fixture
def users_home(tmp_path: Path) -> Iterator[Path]:
    """A directory of the ordinary user, which may pass what is above it meanwhile."""
    home = tmp_path / "user"
    home.mkdir()
    os.chown(home, USER, USER)
    modes = {parent: parent.stat().st_mode for parent in home.parents if parent.owner() == "root"}
    for parent, mode in modes.items():
        parent.chmod(mode | 0o001)
    yield home
    for parent, mode in modes.items():
        parent.chmod(stat.S_IMODE(mode))


def test_a_directory_shows_what_a_pack_shows(ours: Ours, name: str) -> None:
    ours.pull(name)
    assert shown(ours.root, name) == SHOWN
    ours("rmi", "--root", ours.root, name)

    ours.pull(name, "--layers", "dir")

    assert shown(ours.root, name) == SHOWN
    assert not list(ours.root.glob("layers/*/*.pack"))
    assert list(ours.store.check(deep=True)) == []
    ours("rmi", "--root", ours.root, name)
    assert not list((ours.root / "layers").iterdir())


def test_what_is_loaded_and_imported_may_be_directories_too(ours: Ours, tmp_path: Path) -> None:
    write_layout(tmp_path / "oci", [BASE, TOP])
    (tmp_path / "base.tar").write_bytes(BASE.tar)
    options = ("--root", ours.root, "--layers", "dir")

    ours("load", *options, "-i", tmp_path / "oci")
    ours("import", *options, tmp_path / "base.tar", "base:1")

    loaded, imported = sorted(ours.store.images(), key=lambda image: len(image.tags))
    assert shown(ours.root, loaded.image_id) == SHOWN
    assert shown(ours.root, imported.image_id)["sbin/su"] == SHOWN["sbin/su"]
    assert not list(ours.root.glob("layers/*/*.pack"))


def test_an_ordinary_users_directory_shows_it_too(users_home: Path, name: str) -> None:
    root = users_home / "store"
    words = ["pull", "--root", root, "--tls-verify=false", "--layers=dir", name]

    done = attempt(as_user([PROGRAM, *words]), env={"HOME": str(users_home), "PATH": "/usr/bin"})

    assert (done.returncode, done.stderr) == (0, "")
    assert shown_to_user(root, name) == SHOWN


def shown_to_user(root: Path, name: str) -> dict[str, tuple[int, int, int, int]]:
    """What `shown` returns to the ordinary user: to others the owners in xattrs mean nothing."""

    def work(report: Report) -> None:
        account = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
        report.ready(pickle.dumps(shown(root, name)))

    child = children.start(work)
    found: dict[str, tuple[int, int, int, int]] = pickle.loads(child.ready())
    child.wait()
    return found


def test_what_an_ordinary_users_directory_cannot_keep_is_told(
    registry: DockerRegistry, users_home: Path, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [_tar(("sh", {"type": tarfile.SYMTYPE, "linkname": "bin/sh"}))])
    name = push(tmp_path / "oci", registry, "forms/lost:1")
    words = ["pull", "--root", users_home / "store", "--tls-verify=false", "--layers=dir", name]

    done = attempt(as_user([PROGRAM, *words]), env={"HOME": str(users_home), "PATH": "/usr/bin"})

    assert done.returncode == 0
    assert done.stderr.endswith(": the directory cannot keep owner of /sh\n")


def test_a_directory_cannot_be_saved_and_says_so(ours: Ours, name: str) -> None:
    ours.pull(name, "--layers", "dir")

    done = ours.attempt("save", "--root", ours.root, "-o", ours.home / "a.tar", name)

    assert done.returncode == 39
    assert done.stderr.endswith(": kept as a directory, so it has no tar any more\n")
    assert not (ours.home / "a.tar").exists()
