"""A root filesystem becomes an image that shows the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.config import RunConfig
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.tars.errors import BadTar
from overlayfs_py.transfer.archive import read_blocks
from overlayfs_py.transfer.config_changes import apply_changes
from overlayfs_py.transfer.failures import BadChange
from overlayfs_py.transfer.import_ import ImportOptions, import_directory, import_tar
from tests.store.states import require_sound
from tests.system.processes import run
from tests.transfer.looking import contents

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

_OPTIONS = ImportOptions(Platform("linux", "amd64"), 1_700_000_000_000_000_000, "root")
_PORTS = ("5/udp", "8/tcp", "80/tcp", "9/tcp")
_NAME = [parse_reference("root:1")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/motd").write_text("hello\n")
    os.link(root / "etc/motd", root / "etc/issue")
    (root / "bin").mkdir()
    (root / "bin/sh").symlink_to("busybox")
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    return root


def _import_tar(store: Store, path: Path) -> StoredImage:
    with path.open("rb") as file:
        return import_tar(store, read_blocks(file), _OPTIONS, _NAME)


_CONTENTS = {"etc/motd": b"hello\n", "etc/issue": b"hello\n", "sparse": bytes(1 << 20)}


@pytest.mark.parametrize("compression", ["", "--gzip", "--xz", "--zstd", "--bzip2"])
def test_a_tar_becomes_an_image(store: Store, tree: Path, tmp_path: Path, compression: str) -> None:
    run(["tar", *filter(None, [compression]), "-cf", tmp_path / "tar", "-C", tree, "."])

    image = _import_tar(store, tmp_path / "tar")

    assert contents(store, "root:1") == _CONTENTS
    assert image.config.history[0].comment == "Imported from root"
    assert image.size == len(b"hello\n") + (1 << 20)
    require_sound(store)


def test_a_directory_becomes_an_image(store: Store, tree: Path) -> None:
    before = sorted(tree.rglob("*"))

    import_directory(store, os.fsencode(tree), _OPTIONS, _NAME)

    assert contents(store, "root:1") == _CONTENTS
    assert sorted(tree.rglob("*")) == before
    require_sound(store)


def test_the_same_directory_gives_the_same_image(store: Store, tree: Path) -> None:
    one = import_directory(store, os.fsencode(tree), _OPTIONS, _NAME)
    two = import_directory(store, os.fsencode(tree), _OPTIONS, _NAME)

    assert one.manifest == two.manifest
    assert one.layers == two.layers


def test_what_is_no_tar_is_told(store: Store) -> None:
    with pytest.raises(BadTar):
        import_tar(store, [b"no tar at all" * 100], _OPTIONS, _NAME)

    assert store.images() == []
    require_sound(store)


def test_a_directory_that_is_not_there_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_directory(store, os.fsencode(tmp_path / "none"), _OPTIONS, _NAME)

    require_sound(store)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (['CMD ["/bin/sh", "-l"]'], RunConfig(cmd=("/bin/sh", "-l"))),
        (["cmd echo hello"], RunConfig(cmd=("/bin/sh", "-c", "echo hello"))),
        (["CMD []"], RunConfig(cmd=())),
        (['ENTRYPOINT ["/init"]'], RunConfig(entrypoint=("/init",))),
        (["ENV A=1 B='2 3'", "ENV A=4"], RunConfig(env=("A=4", "B=2 3"))),
        (["ENV PATH /bin:/usr/bin"], RunConfig(env=("PATH=/bin:/usr/bin",))),
        (["EXPOSE 80 5/udp", "EXPOSE 8-9"], RunConfig(exposed_ports=_PORTS)),
        (['LABEL a=b "c d"="e f"'], RunConfig(labels={"a": "b", "c d": "e f"})),
        (["ONBUILD RUN true"], RunConfig(on_build=("RUN true",))),
        (["STOPSIGNAL SIGINT"], RunConfig(stop_signal="SIGINT")),
        (["USER 1000:1000"], RunConfig(user="1000:1000")),
        (['VOLUME ["/a", "/b"]', "VOLUME /c"], RunConfig(volumes=("/a", "/b", "/c"))),
        (["WORKDIR /srv", "WORKDIR app/../x"], RunConfig(working_dir="/srv/x")),
        (['SHELL ["/a", "-c"]', "CMD x"], RunConfig(shell=("/a", "-c"), cmd=("/a", "-c", "x"))),
    ],
)  # fmt: skip
def test_a_change_changes_the_config(changes: list[str], expected: RunConfig) -> None:
    assert apply_changes(RunConfig(), changes) == expected


@pytest.mark.parametrize(
    "change",
    [
        *(
            "",
            "RUN true",
            "FROM x",
            "ENV",
            "ENV A",
            "ENV =1",
            "ENV A='",
            "EXPOSE x",
            "EXPOSE 70000",
        ),
        *("EXPOSE 9-8", "VOLUME", 'VOLUME [""]', "WORKDIR", "USER", "SHELL /bin/sh", "LABEL"),
    ],
)
def test_a_change_that_makes_no_sense_is_told(change: str) -> None:
    with pytest.raises(BadChange):
        apply_changes(RunConfig(), [change])
