"""A program opens a store, pulls an image, looks at it, mounts it, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import overlayfs_py
from overlayfs_py import api
from overlayfs_py.api import (
    ClientOptions,
    Machine,
    MountedImage,
    OverlayError,
    Store,
    inspect,
    mounted,
    pull,
)
from overlayfs_py.image.config import RunConfig
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.transfer.import_ import ImportOptions, import_directory
from overlayfs_py.transfer.watch import LayerState, Unwatched
from tests.support.docker_registry import docker_registry
from tests.support.oci_layout import layer_of, write_layout
from tests.system.mount_table import mounts_below
from tests.system.processes import run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/motd").write_text("hello\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    opened = Store.open(tmp_path / "store")
    options = ImportOptions(Platform("linux", "amd64"), 0, "root", run=RunConfig(cmd=("/bin/sh",)))
    import_directory(opened, os.fsencode(tmp_path / "root"), options, [parse_reference("small:1")])
    return opened


def test_an_image_is_looked_at(store: Store) -> None:
    assert inspect(store, "small:1").config.run.cmd == ("/bin/sh",)
    with pytest.raises(OverlayError, match="no such image"):
        inspect(store, "other:1")


def test_an_image_is_a_directory_for_a_while(store: Store, tmp_path: Path) -> None:
    with mounted(store, "small:1") as root:
        assert (root / "etc/motd").read_text() == "hello\n"
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").touch()
        with pytest.raises(OverlayError, match="mounted"):
            store.remove_image("small:1")

    assert list((tmp_path / "tmp").iterdir()) == []
    store.remove_image("small:1")


def test_what_is_written_is_thrown_away(store: Store, tmp_path: Path) -> None:
    with mounted(store, "small:1", writable=True) as root:
        (root / "etc/motd").write_text("changed\n")
        assert (root / "etc/motd").read_text() == "changed\n"

    with mounted(store, "small:1") as root:
        assert (root / "etc/motd").read_text() == "hello\n"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_mount_ends_with_its_program_however_that_ends(store: Store, tmp_path: Path) -> None:
    script = f"""
import os, signal, tempfile
from pathlib import Path
from overlayfs_py.api import Store, mounted
tempfile.tempdir = {str(tmp_path / "tmp")!r}
with mounted(Store.open(Path({str(store.root)!r})), "small:1") as root:
    assert (root / "etc/motd").exists()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert done.returncode == -9
    wait_until(lambda: not mounts_below(tmp_path), "the mount to go")
    wait_until(lambda: not list((tmp_path / "tmp").iterdir()), "the directory to go")


def test_a_fresh_one_at_the_same_path(store: Store, tmp_path: Path) -> None:
    with MountedImage(store, "small:1", writable=True) as image, closing_fds() as held:
        for _ in range(3):
            assert (image.path / "etc/motd").read_text() == "hello\n"
            held.append(os.open(image.path / "etc", os.O_RDONLY))  # busy
            (image.path / "etc/motd").write_text("changed\n")
            (image.path / "etc/new").touch()
            mounted_as = image.path.stat().st_dev
            image.reset()
            assert os.listdir(image.path / "etc") == ["motd"]
            assert image.path.stat().st_dev == mounted_as  # it was not mounted anew
            assert os.listdir(held[-1]) == ["motd"]
        run(["umount", "--lazy", image.path])
        image.reset()
        assert (image.path / "etc/motd").read_text() == "hello\n"
        uppers = [path for path in image.path.parent.iterdir() if path != image.path]
        wait_until(lambda: sum(path.exists() for path in uppers) == 1, "old uppers to go")

    image.close()
    with pytest.raises(OverlayError, match="closed"):
        image.reset()
    assert list((tmp_path / "tmp").iterdir()) == []


@contextmanager
def closing_fds() -> Iterator[list[int]]:
    fds: list[int] = []
    yield fds
    for fd in fds:
        os.close(fd)


def test_a_program_with_threads_is_not_forked(store: Store, tmp_path: Path) -> None:
    script = f"""
import sys, tempfile, threading
from overlayfs_py.api import Store, mounted
tempfile.tempdir = {str(tmp_path / "tmp")!r}

def refuse(event, arguments):
    if event in ("os.fork", "os.forkpty"):
        raise AssertionError("forked")

sys.addaudithook(refuse)
read = []

def work():
    with mounted(Store.open({str(store.root)!r}), "small:1") as root:
        read.append((root / "etc/motd").read_text())

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert read == ["hello\\n"] * 3, read
"""
    run([sys.executable, "-W", "error", "-c", script])

    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("module", ["overlayfs_py", "overlayfs_py.api"])
def test_importing_it_loads_nothing(module: str) -> None:
    script = f"""
import sys
before = set(sys.modules)
import {module}
found = set(sys.modules) - before
assert {{name for name in found if name.startswith("overlayfs_py.")}} <= {{"overlayfs_py.api"}}
assert not {{"trio", "msgspec", "httpx", "subprocess"}} & found, found
"""
    run([sys.executable, "-c", script])


def test_all_that_is_offered_is_there() -> None:
    for module in (overlayfs_py, api):
        for name in module.__all__:
            assert getattr(module, name) is getattr(api, name)
        with pytest.raises(AttributeError):
            _ = module.nosuch


def test_what_is_shown_is_short(store: Store) -> None:
    assert repr(store) == f"<Store {store.root}>"
    [image] = store.images()
    assert repr(image) == f"<StoredImage {image.image_id} docker.io/library/small:1>"


def test_a_store_is_opened_by_any_path(store: Store) -> None:
    for path in (str(store.root), store.root):
        assert Store.open(path).root == store.root


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[str]:
    """An image in a registry on loopback, whose certificate nobody need check."""
    layer = layer_of({"etc/motd": b"from afar\n"})
    write_layout(tmp_path / "oci", [layer])
    with docker_registry(tmp_path / "registry") as registry:
        name = f"{registry.domain}/team/app:1"
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        run([*command, f"oci:{tmp_path / 'oci'}:latest", f"docker://{name}"])
        yield name


class Pulls(Unwatched):
    def __init__(self) -> None:
        self.states: list[LayerState] = []

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        self.states.append(state)


def test_an_image_is_pulled_and_mounted(tmp_path: Path, pushed: str) -> None:
    store = Store.open(tmp_path / "store")
    watch = Pulls()

    image = pull(store, pushed, ClientOptions(tls_verify=False), watch=watch)

    assert image == inspect(store, pushed)
    assert watch.states[-1] is LayerState.PULLED
    with mounted(store, pushed) as root:
        assert (root / "etc/motd").read_text() == "from afar\n"


def test_the_machines_files_say_what_a_name_means_and_how_to_get_it(
    tmp_path: Path, pushed: str
) -> None:
    store = Store.open(tmp_path / "store")
    host, _, path = pushed.partition("/")
    (tmp_path / "registries.conf").write_text(
        f'unqualified-search-registries = ["{host}"]\n'
        f'[[registry]]\nlocation = "{host}"\ninsecure = true\n'
    )
    machine = Machine({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf")})

    image = pull(store, path, machine.client_options())

    assert image.references == (pushed,)


def test_what_cannot_be_pulled_is_one_error(tmp_path: Path, pushed: str) -> None:
    store = Store.open(tmp_path / "store")

    with pytest.raises(OverlayError, match="manifest unknown"):
        pull(store, pushed.replace(":1", ":2"), ClientOptions(tls_verify=False))
    assert store.images() == []
