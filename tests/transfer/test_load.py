"""What other programs save is loaded as it was, and what is damaged is told and not loaded."""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.platform import Platform
from overlayfs_py.transfer.archive import read_archive, read_directory
from overlayfs_py.transfer.load import load
from tests.store.states import require_sound
from tests.tars.making import END, entry, pax
from tests.transfer.conftest import FILES
from tests.transfer.looking import contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.load import Loaded
    from tests.support.images import Podman

_PLATFORM = Platform("linux", "amd64")
_APP = {"etc/one": b"1\n", "etc/two": b"22\n", "srv/three": b"333\n"}

Members = dict[str, bytes]


def _load(store: Store, path: Path) -> list[Loaded]:
    if path.is_dir():
        return load(store, read_directory(path), _PLATFORM, path.name)
    with path.open("rb", buffering=0) as file:
        return load(store, read_archive(file), _PLATFORM, path.name)


def _id(podman: Podman, name: str) -> str:
    return "sha256:" + podman.run("inspect", "--format={{.Id}}", name).strip()


@pytest.mark.parametrize("form", ["docker", "oci", "gz", "layout", "skopeo"])
def test_an_image_keeps_its_id_and_its_files(
    store: Store, podman: Podman, archives: dict[str, Path], form: str
) -> None:
    (loaded,) = _load(store, archives[form])

    names = [reference.familiar for reference in loaded.references]
    # A layout's `app` is a tag without a repository.
    assert names == ([] if form == "layout" else ["localhost/app:1"])
    if form in ("docker", "gz"):  # the others have a config in OCI's words
        assert loaded.image.image_id == _id(podman, "localhost/app:1")
    assert contents(store, loaded.image.image_id) == _APP
    assert loaded.image.config.run.cmd == ("/bin/app",)
    require_sound(store)


def test_a_stream_that_cannot_seek_is_read(store: Store, archives: dict[str, Path]) -> None:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        os.dup2(write_fd, 1)
        os.execvp("cat", ["cat", os.fspath(archives["docker"])])
    os.close(write_fd)
    with open(read_fd, "rb", buffering=0) as pipe:
        (loaded,) = load(store, read_archive(pipe), _PLATFORM, "pipe")
    os.waitpid(pid, 0)

    assert contents(store, loaded.image.image_id) == _APP


def test_images_of_one_archive_share_layers(
    store: Store, podman: Podman, archives: dict[str, Path]
) -> None:
    loaded = _load(store, archives["both"])

    ids = {image.image.image_id for image in loaded}
    assert ids == {_id(podman, name) for name in ("localhost/app:1", "localhost/base:1")}
    assert len(list((store.root / "layers").iterdir())) == 3
    require_sound(store)


def test_what_is_there_is_not_written_again(store: Store, archives: dict[str, Path]) -> None:
    _load(store, archives["oci"])
    before = {path: path.stat().st_ino for path in (store.root / "layers").rglob("*")}

    loaded = [*_load(store, archives["skopeo"]), *_load(store, archives["layout"])]

    assert len({image.image.image_id for image in loaded}) == 1
    assert {path: path.stat().st_ino for path in (store.root / "layers").rglob("*")} == before
    require_sound(store)


def _layer(**files: bytes) -> bytes:
    return _tar(dict(files))


def _tar(members: Members, links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _sha256(data: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _image(*layers: bytes, tag: str = "made:1") -> Members:
    """The members of an archive as docker wrote it before it wrote OCI layouts."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [_sha256(layer) for layer in layers]},
    }
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    entry = {"Config": "config.json", "RepoTags": [tag], "Layers": names}
    return {
        **dict(zip(names, layers, strict=True)),
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps([entry]).encode(),
    }


def _stream(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)


def test_layers_that_are_links_are_found(store: Store) -> None:
    layer = _layer(a=b"a")
    members = _image(layer, _layer(b=b"b"), layer)
    del members["2/layer.tar"]
    data = _tar(members, {"2/layer.tar": "../0/layer.tar"})

    load(store, read_archive(_stream(data)), _PLATFORM, "old")

    assert contents(store, "made:1") == {"a": b"a", "b": b"b"}
    assert len(store.image("made:1").layers) == 3


def _unpacked(root: Path, members: Members) -> Path:
    for name, data in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_directorys_links_stay_inside(store: Store, tmp_path: Path) -> None:
    """Layers that are links are found, as in a tar."""
    layer = _layer(a=b"a")
    root = _unpacked(tmp_path / "archive", _image(layer, _layer(b=b"b"), layer))
    (root / "2/layer.tar").unlink()
    (root / "2/layer.tar").symlink_to("../0/layer.tar")

    _load(store, root)

    assert contents(store, "made:1") == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize("linked", ["config.json", "0/layer.tar", "0"])
def test_no_link_of_a_directory_leads_out_of_it(store: Store, tmp_path: Path, linked: str) -> None:
    root = _unpacked(tmp_path / "archive", _image(_layer(a=b"a")))
    (root / linked).rename(tmp_path / "outside")
    (root / linked).symlink_to(tmp_path / "outside")

    with pytest.raises(OverlayError, match="missing"):
        _load(store, root)


def test_a_layer_of_no_bytes_is_empty(store: Store) -> None:
    data = _tar(_image(_layer(a=b"a"), b""))

    load(store, read_archive(_stream(data)), _PLATFORM, "made")

    assert contents(store, "made:1") == {"a": b"a"}
    require_sound(store)


@pytest.mark.parametrize("first", [b"", b"x" * 600])
def test_holes_that_nothing_pays_for_are_refused(store: Store, first: bytes) -> None:
    """An archive of 2 KB, one file of which has 4 EiB of zeros."""
    records = (
        (b"GNU.sparse.map", b"0,%d" % len(first)),
        (b"GNU.sparse.size", b"%d" % (1 << 62)),
    )
    data = pax(*records) + entry(b"0/layer.tar", first) + END

    with pytest.raises(OverlayError):
        load(store, read_archive(_stream(data)), _PLATFORM, "bomb")


@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_of_an_archive_does_not_matter(store: Store, *, backwards: bool) -> None:
    members = _image(_layer(a=b"old", b=b"b"), _layer(a=b"new"))
    ordered = dict(sorted(members.items(), reverse=backwards))

    load(store, read_archive(_stream(_tar(ordered))), _PLATFORM, "made")

    assert contents(store, "made:1") == {"a": b"new", "b": b"b"}


def _without(name: str) -> Callable[[Members], Members]:
    return lambda members: {key: data for key, data in members.items() if key != name}


def _with(name: str, data: bytes) -> Callable[[Members], Members]:
    return lambda members: members | {name: data}


def _swapped(members: Members) -> Members:
    first, second = members["0/layer.tar"], members["1/layer.tar"]
    return members | {"0/layer.tar": second, "1/layer.tar": first}


_DAMAGES: dict[str, tuple[Callable[[Members], Members], str]] = {
    "no manifest": (_without("manifest.json"), "there is no image in it"),
    "of docker before 1.10": (
        lambda m: {"repositories": b'{"made":{"1":"0"}}'} | _without("manifest.json")(m),
        "0/json is missing",
    ),
    "no config": (_without("config.json"), "config.json is missing"),
    "no layer": (_without("1/layer.tar"), "1/layer.tar is missing"),
    "another layer": (_with("1/layer.tar", _layer(c=b"c")), "has digest"),
    "layers in another order": (_swapped, "has digest"),
    "a layer cut short": (_with("1/layer.tar", _layer(a=b"x" * 9000)[:1024]), "it ends at byte"),
    "a layer that is none": (_with("1/layer.tar", b"\x1f\x8bnothing"), "1/layer.tar"),
    "a layer that leads outside": (_with("1/layer.tar", _tar({"../../x": b"x"})), "1/layer.tar"),
    "a manifest that is none": (_with("manifest.json", b'{"a": 1}'), "manifest.json"),
    "a manifest that nests": (_with("manifest.json", b"[" * 100_000), "manifest.json"),
    "a config that is none": (_with("config.json", b"[]"), "image config"),
    "a name that is none": (
        _with(
            "manifest.json",
            json.dumps(
                [{"Config": "config.json", "RepoTags": ["A B"], "Layers": ["0/layer.tar"]}]
            ).encode(),
        ),
        "A B",
    ),
    "a path on the host": (
        _with("manifest.json", json.dumps([{"Config": "/etc/passwd", "Layers": []}]).encode()),
        "etc/passwd is missing",
    ),
    "an index that is none": (_with("index.json", b"{}"), "schemaVersion"),
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_archive_is_told_and_loads_nothing(store: Store, damage: str) -> None:
    change, told = _DAMAGES[damage]
    data = _tar(change(_image(_layer(a=b"a"), _layer(b=b"b"))))

    with pytest.raises(OverlayError) as raised:
        load(store, read_archive(_stream(data)), _PLATFORM, "damaged")

    assert told in f"{raised.value.filename}: {raised.value.strerror}"
    assert store.images() == []
    require_sound(store)


def _named(*names: str | None) -> Callable[[Members], Members]:
    entry = {"Config": "config.json", "RepoTags": names, "layers": ["0/layer.tar"]}
    return _with("manifest.json", json.dumps([entry]).encode())


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (["h/x@sha256:" + "1" * 64], []),
        (["h/x@sha256:" + "1" * 64, "h/y:1"], ["h/y:1"]),
        (["h/x:2@sha256:" + "1" * 64], ["h/x:2"]),
        (["sha256:" + "1" * 63], []),
    ],
)
def test_a_name_that_no_image_can_have_is_left_out(
    store: Store, names: list[str], given: list[str]
) -> None:
    data = _tar(_named(*names)(_image(_layer(a=b"a"))))

    (loaded,) = load(store, read_archive(_stream(data)), _PLATFORM, "made")

    assert [name.familiar for name in loaded.references] == given
    assert [name.removeprefix("docker.io/") for name in loaded.image.references] == given


@pytest.mark.parametrize("cut", [0, 100, 512, 5000])
def test_an_archive_cut_short_loads_nothing(store: Store, cut: int) -> None:
    data = _tar(_image(_layer(a=b"a" * 9000), _layer(b=b"b")))

    with pytest.raises(OverlayError):
        load(store, read_archive(_stream(data[:cut])), _PLATFORM, "cut")

    assert store.images() == []
    require_sound(store)


def test_links_in_a_circle_end(store: Store) -> None:
    members = _without("1/layer.tar")(_image(_layer(a=b"a"), _layer(b=b"b")))
    data = _tar(members, {"1/layer.tar": "x", "1/x": "layer.tar"})

    with pytest.raises(OverlayError, match="a link that leads nowhere"):
        load(store, read_archive(_stream(data)), _PLATFORM, "circle")


def test_files_are_those_that_were_built() -> None:
    assert {data.encode() for data in FILES.values()} == set(_APP.values())


_BASE, _TOP, _OTHER = "a" * 64, "b" * 64, "c" * 64


def _record(image_id: str, parent: str = "", **fields: object) -> bytes:
    record = {"id": image_id, "os": "linux", "architecture": "amd64", "Size": 5} | fields
    return json.dumps(record | ({"parent": parent} if parent else {})).encode()


def _old() -> Members:
    """Two images on one base, as docker 1.9 saved them."""
    made = {"container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) <x>"]}, "throwaway": True}
    return {
        f"{_BASE}/VERSION": b"1.0",
        f"{_BASE}/json": _record(_BASE, created="2014-01-01T00:00:00Z", author="A", **made),
        f"{_BASE}/layer.tar": _layer(a=b"old", b=b"b"),
        f"{_TOP}/json": _record(_TOP, _BASE, config={"Cmd": ["/a"], "Env": ["X=1"]}, comment="c"),
        f"{_TOP}/layer.tar": _layer(a=b"new"),
        f"{_OTHER}/json": _record(_OTHER, _BASE),
        f"{_OTHER}/layer.tar": _layer(c=b"c"),
        "repositories": json.dumps(
            {"made": {"1": _TOP, "latest": _TOP}, "base": {"1": _BASE}}
        ).encode(),
    }


@pytest.mark.parametrize("backwards", [False, True])
def test_what_docker_saved_before_it_wrote_manifests(store: Store, *, backwards: bool) -> None:
    members = dict(sorted(_old().items(), reverse=backwards))

    loaded = load(store, read_archive(_stream(_tar(members))), _PLATFORM, "old")

    assert {tuple(name.familiar for name in each.references) for each in loaded} == {
        ("made:1", "made:latest"),
        ("base:1",),
        (),
    }
    assert contents(store, "made:1") == {"a": b"new", "b": b"b"}
    assert contents(store, "base:1") == {"a": b"old", "b": b"b"}
    (other,) = (each.image.image_id for each in loaded if not each.references)
    assert contents(store, other) == {"a": b"old", "b": b"b", "c": b"c"}
    require_sound(store)


def test_the_record_of_an_old_image_becomes_the_config_that_docker_makes(store: Store) -> None:
    members = _old()

    load(store, read_archive(_stream(_tar(members))), _PLATFORM, "old")

    layers = [_sha256(members[f"{each}/layer.tar"]) for each in (_BASE, _TOP)]
    # moby, image/v1/imagev1.go, MakeConfigFromV1Config: keys in order, HTML escaped.
    first = '{"created":"2014-01-01T00:00:00Z","author":"A","created_by":"/bin/sh -c #(nop) '
    expected = (
        '{"architecture":"amd64","comment":"c","config":{"Cmd":["/a"],"Env":["X=1"]},'
        f'"history":[{first}\\u003cx\\u003e"}},'
        '{"created":"0001-01-01T00:00:00Z","comment":"c"}],"os":"linux",'
        f'"rootfs":{{"type":"layers","diff_ids":["{layers[0]}","{layers[1]}"]}}}}'
    )
    assert store.image("made:1").config.raw.decode() == expected


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without(f"{_BASE}/json"), f"{_BASE}/json is missing, on which {_TOP} is built"),
        (_without(f"{_TOP}/layer.tar"), f"{_TOP}/layer.tar is missing"),
        (_with(f"{_BASE}/json", _record(_BASE, _TOP)), "images below it"),
        (_with(f"{_BASE}/json", b"[]"), f"{_BASE}/json: "),
        (_with("repositories", b'{"made":{"1":"0"}}'), "0/json is missing"),
        (_with("repositories", b'{"made":["1"]}'), "repositories: "),
        (_with("repositories", b'{"A B":{"1":"0"}}'), "A B"),
    ],
)
def test_a_damaged_old_archive_is_told(
    store: Store, change: Callable[[Members], Members], told: str
) -> None:
    with pytest.raises(OverlayError) as raised:
        load(store, read_archive(_stream(_tar(change(_old())))), _PLATFORM, "old")

    assert told in f"{raised.value.filename}: {raised.value.strerror}"
    assert store.images() == []
    require_sound(store)
