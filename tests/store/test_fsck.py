"""Whatever becomes of its files, a store says so, and what is left after a repair is sound."""

from __future__ import annotations

import json
import os
import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import hex_of
from overlayfs_py.packs.format import DIGEST_SIZE
from overlayfs_py.packs.from_tar import pack_tar
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.store.checking import Trouble
from overlayfs_py.store.containers import ContainerRecord
from overlayfs_py.store.layer_writing import write_layer
from overlayfs_py.store.records import LayerBlob
from tests.store.samples import add_image, add_layer, diff_id
from tests.store.states import names, require_sound
from tests.support.oci_layout import tar_of
from tests.support.resealing import resealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.store.store import Store

_SOURCE = LayerBlob(digest="sha256:" + "0" * 64, size=1, media_type="x", sources=("docker.io/x/y",))


@pytest.fixture
def filled(store: Store) -> Store:
    """`whole:1` and `broken:1` share `base`; all that is broken below is of the second."""
    add_image(store, ["base"], "whole:1")
    add_image(store, ["base", "app"], "broken:1", "broken:2")
    return store


def test_records_of_containers_and_volumes(filled: Store) -> None:
    image = filled.image("broken:1")
    for name in ("whole", "torn", "empty"):
        record = ContainerRecord(
            id=name.encode().hex().ljust(64, "0"),
            name=name,
            created_ns=1,
            image="broken:1",
            image_id=image.image_id,
            manifest=image.manifest.digest,
            diff_ids=tuple(image.config.diff_ids),
        )
        directory = filled.containers.create(record)
        if name == "torn":
            text = (directory / "container.json").read_text()
            (directory / "container.json").write_text(text.replace("broken:1", "broken:2"))
        elif name == "empty":
            (directory / "container.json").unlink()
    for name in ("kept", "lost"):
        filled.volumes.create(name)
    (filled.root / "volumes/lost/volume.json").write_text("{")
    assert [problem.trouble for problem in filled.check()] == [
        *[Trouble.LOST_CONTAINER] * 2,
        Trouble.LOST_VOLUME,
    ]

    done = [filled.repair(problem) for problem in filled.check()]

    assert all(words.startswith("moved to quarantine/") for words in done)
    assert [each.name for each in filled.containers.all()] == ["whole"]
    assert [each.name for each in filled.volumes.all()] == ["kept"]
    assert list(filled.check()) == []
    shutil.rmtree(_layer(filled))
    troubles = {problem.trouble for problem in filled.check()}
    assert Trouble.CONTAINER in troubles


def test_room_of_containers_and_volumes(filled: Store) -> None:
    filled.volumes.create("data")
    (filled.volumes.data("data") / "file").write_bytes(bytes(10_000))

    used = filled.usage().volumes

    assert (used.count, used.active) == (1, 0)
    assert used.reclaimable_bytes == used.total_bytes > 10_000


def _layer(store: Store, name: str = "app") -> Path:
    return store.root / "layers" / hex_of(diff_id(name))


def _manifest(store: Store) -> Path:
    return store.root / "blobs/sha256" / hex_of(store.image("broken:1").manifest.digest)


def _config(store: Store) -> Path:
    return store.root / "blobs/sha256" / hex_of(store.image("broken:1").image_id)


def _entry(store: Store) -> Path:
    return store.root / "images" / hex_of(store.image("broken:1").manifest.digest)


def _tag(store: Store, name: str = "broken:1") -> Path:
    tags = (store.root / "tags").iterdir()
    return next(path for path in tags if name in path.read_text())


def _flip(path: Path, at: int = 70) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _rewrite(path: Path, **changed: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changed))


def _link_away(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _other_pack(store: Store) -> None:
    shutil.copy(_layer(store, "base") / "layer.pack", _layer(store) / "layer.pack")


def _pack_of_a_tar(store: Store) -> None:
    """A sound pack that the record knows, and that gives the tar of something else."""
    path = _layer(store) / "layer.pack"
    with path.open("wb") as out:
        writer = PackWriter(out)
        pack_tar([tar_of({"etc/other": b"other"})], writer)
        digest = writer.finish().digest
    _rewrite(_layer(store) / "layer.json", pack=f"sha256:{digest.hex()}")


def _pack_with_a_lie(store: Store) -> None:
    """Every digest is right, and the root says that it has more names than there are."""
    path = _layer(store) / "layer.pack"
    lie = resealed(path.read_bytes(), lambda index, _: struct.pack_into("<I", index, 56, 3))
    path.write_bytes(lie)
    _rewrite(_layer(store) / "layer.json", pack=f"sha256:{lie[-DIGEST_SIZE:].hex()}")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _refusal(use: Callable[[], object]) -> OverlayError | None:
    try:
        use()
    except OverlayError as error:
        return error
    return None


_DAMAGES: dict[str, tuple[Callable[[Store], object], set[Trouble]]] = {
    "a bit of a manifest": (lambda s: _flip(_manifest(s)), {Trouble.BLOB, Trouble.IMAGE}),
    "a bit of a config": (lambda s: _flip(_config(s)), {Trouble.BLOB, Trouble.IMAGE}),
    "no manifest": (lambda s: _manifest(s).unlink(), {Trouble.IMAGE}),
    "no config": (lambda s: _config(s).unlink(), {Trouble.IMAGE}),
    "an empty manifest": (lambda s: os.truncate(_manifest(s), 0), {Trouble.BLOB, Trouble.IMAGE}),
    "a link for a manifest": (lambda s: _link_away(_manifest(s)), {Trouble.BLOB, Trouble.IMAGE}),
    "a FIFO for a manifest": (lambda s: _fifo(_manifest(s)), {Trouble.BLOB, Trouble.IMAGE}),
    "a FIFO for an entry": (lambda s: _fifo(_entry(s)), {Trouble.IMAGE}),
    "a huge record": (
        lambda s: os.truncate(_layer(s) / "layer.json", 1 << 40),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a bit of a pack's data": (
        lambda s: _flip(_layer(s) / "layer.pack"),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a bit of a pack's index": (
        lambda s: _flip(_layer(s) / "layer.pack", -700),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a bit of a pack's footer": (
        lambda s: _flip(_layer(s) / "layer.pack", -5),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a short pack": (
        lambda s: os.truncate(_layer(s) / "layer.pack", 50),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a pack of another tar": (_pack_of_a_tar, {Trouble.LAYER, Trouble.IMAGE}),
    "a pack that lies": (_pack_with_a_lie, {Trouble.LAYER, Trouble.IMAGE}),
    "another layer's pack": (_other_pack, {Trouble.LAYER, Trouble.IMAGE}),
    "no pack": (lambda s: (_layer(s) / "layer.pack").unlink(), {Trouble.LAYER, Trouble.IMAGE}),
    "no layer": (lambda s: shutil.rmtree(_layer(s)), {Trouble.IMAGE}),
    "no record of a layer": (lambda s: (_layer(s) / "layer.json").unlink(), {Trouble.IMAGE}),
    "a record that is none": (
        lambda s: (_layer(s) / "layer.json").write_text("[[[["),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a record of another layer": (
        lambda s: _rewrite(_layer(s) / "layer.json", diff_id=diff_id("base")),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "a record of a path": (
        lambda s: _rewrite(_layer(s) / "layer.json", diff_id="../../.."),
        {Trouble.LAYER, Trouble.IMAGE},
    ),
    "an entry that is none": (lambda s: _entry(s).write_text("{}"), {Trouble.IMAGE}),
    "an entry of another image": (
        lambda s: _rewrite(_entry(s), manifest="sha256:" + "0" * 64),
        {Trouble.IMAGE},
    ),
    "an entry with a false ID": (
        lambda s: _rewrite(_entry(s), config="sha256:" + "0" * 64),
        {Trouble.IMAGE},
    ),
    "an entry that nests deeply": (
        lambda s: _entry(s).write_text("[" * 100_000),
        {Trouble.IMAGE},
    ),
    "no entry": (lambda s: _entry(s).unlink(), {Trouble.TAG}),
    "a tag that is none": (lambda s: _tag(s).write_bytes(b"\xff\0"), {Trouble.TAG}),
    "a tag of no digest": (lambda s: _rewrite(_tag(s), manifest="../x"), {Trouble.TAG}),
    "a tag of nothing": (
        lambda s: _rewrite(_tag(s), manifest="sha256:" + "0" * 64),
        {Trouble.TAG},
    ),
    "a tag in another's place": (
        lambda s: shutil.copy(_tag(s, "broken:2"), _tag(s)),
        {Trouble.TAG},
    ),
    "a foreign file": (lambda s: (s.root / "notes").write_text("x"), {Trouble.FOREIGN}),
    "a foreign blob": (lambda s: (s.root / "blobs/sha256/x").write_text("x"), {Trouble.FOREIGN}),
    "a foreign kind of blob": (lambda s: (s.root / "blobs/md5").mkdir(), {Trouble.FOREIGN}),
    "a foreign file in a layer": (lambda s: (_layer(s) / "x").mkdir(), {Trouble.FOREIGN}),
    "a foreign lock": (lambda s: (s.root / "locks/use-x").touch(), {Trouble.FOREIGN}),
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_damage_is_told_and_repaired(filled: Store, damage: str) -> None:
    apply, troubles = _DAMAGES[damage]
    apply(filled)

    told = list(filled.check())
    done = [filled.repair(problem) for problem in filled.check()]

    assert {problem.trouble for problem in told} == troubles
    assert all(problem.why and "\n" not in str(problem) for problem in told)
    assert all(done)
    require_sound(filled)
    assert "docker.io/library/whole:1" in names(filled)
    add_image(filled, ["base", "app"], "broken:1")
    require_sound(filled)
    assert "docker.io/library/broken:1" in names(filled)


def test_a_store_without_damage_is_found_sound(filled: Store) -> None:
    require_sound(filled)


def test_a_layer_that_can_be_pulled_again_is_deleted(store: Store) -> None:
    with store.add() as addition:
        add_layer(addition, "app", _SOURCE)
        image = add_image(store, ["app"], "app:1", repositories=["docker.io/x/y"])
    _flip(_layer(store) / "layer.pack")

    done = [store.repair(problem) for problem in store.check()]

    entry = next(path.name for path in (store.root / "quarantine").iterdir())
    assert entry.startswith(hex_of(image.manifest.digest))
    assert done == [
        "deleted; docker.io/x/y had it",
        f"moved to quarantine/{entry}, no longer named docker.io/library/app:1;"
        " pull it again from docker.io/x/y",
    ]


def test_a_damaged_layer_that_is_mounted_stays(filled: Store) -> None:
    with filled.use_image("broken:1")[1]:
        _flip(_layer(filled) / "layer.pack")
        problem = next(iter(filled.check()))

        assert filled.repair(problem) == "left, since it is mounted"
        assert _layer(filled).exists()


def test_what_was_replaced_meanwhile_is_not_repaired(filled: Store) -> None:
    _flip(_manifest(filled))
    problem = next(iter(filled.check()))
    os.rename(problem.path, problem.path.with_name("old"))
    problem.path.write_bytes(b"right")

    assert filled.repair(problem) == "gone meanwhile"
    assert problem.path.exists()


@pytest.mark.parametrize("damage", _DAMAGES)
def test_damage_is_an_error_of_whoever_needs_the_image_and_no_crash(
    filled: Store, damage: str
) -> None:
    _DAMAGES[damage][0](filled)

    for use in (
        lambda: filled.image("broken:1"),
        filled.images,
        filled.usage,
        lambda: filled.remove_image("broken:1"),
        filled.prune,
        lambda: add_image(filled, ["base", "app"], "broken:3"),
    ):
        told = _refusal(use)
        assert told is None or (told.filename and told.strerror), use

    assert filled.find_layer(diff_id("base")) is not None


@pytest.mark.parametrize("deep", [False, True])
def test_a_layer_that_was_wrong_from_the_start_is_found(store: Store, *, deep: bool) -> None:
    with store.add() as addition:
        with addition.ingest_unknown_layer() as draft:
            facts, _ = write_layer(draft, [tar_of({"etc/app": b"app"})])
            addition.commit_layer(draft, structs.replace(facts, diff_id=diff_id("app")))
        image = add_image(store, ["app"], "app:1")

    layer, named = store.check(deep=deep)

    assert layer.why == f"its tar has the diff ID {facts.diff_id}"
    assert named.name == image.manifest.digest


@pytest.mark.parametrize("record", ["layer", "image", "tag"])
@pytest.mark.parametrize("deep", [False, True])
def test_one_changed_digit_of_a_record_is_found(filled: Store, record: str, *, deep: bool) -> None:
    """Of a size or a time that nothing else knows."""
    path = {"layer": _layer(filled) / "layer.json", "image": _entry(filled), "tag": _tag(filled)}
    key = {"layer": b'"files_size":', "image": b'"added_ns":', "tag": b'"tagged_ns":'}[record]
    raw = path[record].read_bytes()
    at = raw.index(key) + len(key)
    path[record].write_bytes(raw[:at] + (b"3" if raw[at] != 0x33 else b"4") + raw[at + 1 :])

    found = list(filled.check(deep=deep))

    assert "its record has been changed" in [problem.why for problem in found]
    assert found[0].path == (path[record].parent if record == "layer" else path[record])


def test_records_of_earlier_versions_have_no_check(filled: Store) -> None:
    for path in (_layer(filled) / "layer.json", _entry(filled), _tag(filled)):
        raw = path.read_bytes()
        path.write_bytes(raw[: raw.index(b',"check":')] + b"}\n")

    require_sound(filled)
