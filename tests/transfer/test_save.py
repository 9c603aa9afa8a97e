"""What is saved is read by others, and is the image that it was."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.digest import hex_of
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.store import Store
from overlayfs_py.transfer.archive import read_archive, read_directory
from overlayfs_py.transfer.load import load
from overlayfs_py.transfer.save import Wanted, save_docker, save_oci
from overlayfs_py.transfer.sinks import DirectorySink, TarSink
from tests.support.images import Podman
from tests.system.processes import run
from tests.transfer.looking import contents

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLATFORM = Platform("linux", "amd64")
_FORMS = ("docker-archive", "oci-archive", "oci")


@pytest.fixture
def filled(store: Store, archives: dict[str, Path]) -> Store:
    with archives["both"].open("rb") as file:
        load(store, read_archive(file), _PLATFORM, "both")
    return store


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory for podman, which takes no path of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="podman-") as directory:
        yield Path(directory)


def _save(store: Store, form: str, place: Path, *names: str) -> Path:
    wanted = Wanted()
    for name in names:
        wanted.add(store.image(name), parse_reference(name))
    if form == "oci":
        save_oci(wanted, DirectorySink(place), store.open_blob)
        return place
    with place.open("wb") as file:
        if form == "docker-archive":
            save_docker(wanted, TarSink(file.write))
        else:
            save_oci(wanted, TarSink(file.write), store.open_blob)
    return place


@pytest.mark.parametrize("form", _FORMS)
def test_skopeo_reads_it(filled: Store, tmp_path: Path, form: str) -> None:
    place = _save(filled, form, tmp_path / "out", "localhost/app:1")

    run(["skopeo", "copy", "-q", f"{form}:{place}", f"dir:{tmp_path / 'copy'}"])

    manifest = json.loads((tmp_path / "copy/manifest.json").read_bytes())
    assert manifest["config"]["digest"] == filled.image("localhost/app:1").image_id


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_loads_it_under_its_names(
    filled: Store, tmp_path: Path, short: Path, form: str
) -> None:
    place = _save(filled, form, tmp_path / "out", "localhost/app:1")
    podman = Podman(short)

    podman.run("load", "-q", "-i", str(place))

    shown = podman.run("images", "--no-trunc", "--format={{.Id}} {{.Repository}}:{{.Tag}}").split()
    assert [shown[0].removeprefix("sha256:"), shown[1]] == [
        hex_of(filled.image("localhost/app:1").image_id),
        "localhost/app:1",
    ]


def test_umoci_unpacks_it(filled: Store, tmp_path: Path) -> None:
    place = _save(filled, "oci", tmp_path / "out", "localhost/app:1")
    index = json.loads((place / "index.json").read_bytes())
    name = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    # umoci finds an image by its whole annotation, but takes no colon in it.
    assert name == "localhost/app:1"
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "app"
    (place / "index.json").write_text(json.dumps(index))

    run(["umoci", "unpack", "--image", f"{place}:app", tmp_path / "bundle"])

    assert (tmp_path / "bundle/rootfs/srv/three").read_text() == "333\n"


@pytest.mark.parametrize("form", _FORMS)
def test_it_loads_again(filled: Store, tmp_path: Path, form: str) -> None:
    names = ("localhost/app:1", "localhost/base:1")
    place = _save(filled, form, tmp_path / "out", *names)
    other = Store.open(tmp_path / "other")

    if form == "oci":
        load(other, read_directory(place), _PLATFORM, "out")
    else:
        with place.open("rb") as file:
            load(other, read_archive(file), _PLATFORM, "out")

    for name in names:
        assert other.image(name).image_id == filled.image(name).image_id
        assert contents(other, name) == contents(filled, name)


def test_layers_are_the_tars_that_they_were_and_there_once(filled: Store, tmp_path: Path) -> None:
    place = _save(filled, "docker-archive", tmp_path / "out", "localhost/app:1", "localhost/base:1")

    with tarfile.open(place) as archive:
        members = [member for member in archive if member.name.endswith(".tar")]
        for member in members:
            data = archive.extractfile(member)
            assert data is not None
            assert hashlib.sha256(data.read()).hexdigest() == member.name.removesuffix(".tar")
    layers = filled.image("localhost/app:1").layers
    assert sorted(member.name for member in members) == sorted(
        f"{hex_of(layer.diff_id)}.tar" for layer in layers
    )


def test_the_same_images_give_the_same_archive(filled: Store, tmp_path: Path) -> None:
    one = _save(filled, "docker-archive", tmp_path / "one", "localhost/app:1")
    two = _save(filled, "docker-archive", tmp_path / "two", "localhost/app:1")

    assert one.read_bytes() == two.read_bytes()


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()

    with pytest.raises(OSError, match="not empty"):
        DirectorySink(tmp_path)
