"""What is added can be found, by the names that people use for it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.digest import DigestMismatch, digest_of, hex_of
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.failures import (
    Ambiguous,
    Busy,
    CorruptStore,
    NotInStore,
)
from overlayfs_py.store.layers import LayerFacts, LayerIngest
from overlayfs_py.store.store import Store
from overlayfs_py.store.stored_layer import StoredLayer
from tests.store.samples import add_image, add_layer, diff_id

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_is_found_again(root: Path) -> None:
    added = add_image(Store.open(root), ["base", "app"], "app:1")

    assert Store.open(root).images() == [added]


def test_a_directory_with_other_things_becomes_no_store(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")

    with pytest.raises(CorruptStore, match="neither a store nor an empty directory"):
        Store.open(tmp_path)

    assert os.listdir(tmp_path) == ["letters"]


def test_a_later_version_is_left_alone(root: Path) -> None:
    Store.open(root)
    (root / "store.json").write_text('{"version": 2, "kind": "overlayfs-py store"}')

    with pytest.raises(CorruptStore, match="a store of version 2"):
        Store.open(root)


def test_a_store_half_made_is_completed(root: Path) -> None:
    (root / "layers").mkdir(parents=True)

    assert Store.open(root).images() == []


def test_other_users_see_nothing_of_a_store(store: Store) -> None:
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_a_blob_comes_back(store: Store) -> None:
    with store.add() as addition:
        digest = addition.put_blob(b"data")

    assert store.read_blob(digest) == b"data"


def test_a_blob_that_is_another_one_is_refused(store: Store) -> None:
    with store.add() as addition, pytest.raises(DigestMismatch):
        addition.put_blob(b"data", digest_of(b"other"))

    assert list((store.root / "blobs/sha256").iterdir()) == []


def test_a_blob_that_rotted_is_told(store: Store) -> None:
    with store.add() as addition:
        digest = addition.put_blob(b"data")
    (store.root / "blobs/sha256" / hex_of(digest)).write_bytes(b"dama")

    with pytest.raises(DigestMismatch):
        store.read_blob(digest)


def test_a_layer_that_is_another_one_is_refused(store: Store) -> None:
    with store.add() as addition, addition.ingest_layer(diff_id("base")) as ingest:
        assert isinstance(ingest, LayerIngest)
        ingest.path.write_bytes(b"pack")
        with pytest.raises(DigestMismatch):
            addition.commit_layer(ingest, LayerFacts(diff_id("other"), 4, 4))

    assert store.find_layer(diff_id("base")) is None
    assert list((store.root / "layers").iterdir()) == []


def test_a_layer_is_written_by_one_at_a_time(store: Store) -> None:
    with store.add() as one, store.add() as two, one.ingest_layer(diff_id("base")) as ingest:
        again = two.ingest_layer(diff_id("base"), wait=False)
        with pytest.raises(Busy, match="another process is at work"):
            again.__enter__()

    assert isinstance(ingest, LayerIngest)


def test_a_layer_that_is_there_is_not_written_again(store: Store) -> None:
    with store.add() as addition:
        add_layer(addition, "base")
        with addition.ingest_layer(diff_id("base")) as found:
            assert isinstance(found, StoredLayer)
            assert found.path == os.fsencode(
                store.root / "layers" / hex_of(diff_id("base")) / "layer.pack"
            )


def test_a_layer_of_unknown_digest_joins_the_one_that_is_there(store: Store) -> None:
    with store.add() as addition:
        add_layer(addition, "base")
        before = store.find_layer(diff_id("base"))
        with addition.ingest_unknown_layer() as ingest:
            ingest.path.write_bytes(b"the same in other words")
            found = addition.commit_layer(ingest, LayerFacts(diff_id("base"), 4, 4))

    assert found == before == store.find_layer(diff_id("base"))


def test_a_download_goes_on_where_it_was(store: Store) -> None:
    digest = digest_of(b"data")
    with store.add() as addition, addition.download(digest) as download:
        download.append(b"da")
    with store.add() as addition, addition.download(digest) as download:
        assert (download.size, download.read(0, 10)) == (2, b"da")
        download.append(b"ta")
        addition.keep_download(download, digest)

    assert store.read_blob(digest) == b"data"
    assert list((store.root / "partial").iterdir()) == []


def test_an_image_with_a_part_missing_is_refused(store: Store) -> None:
    whole = add_image(store, ["base"], "base:1")
    other = Store.open(store.root.with_name("other"))
    with other.add() as addition:
        addition.put_blob(whole.manifest.raw)
        addition.put_blob(whole.config.raw)
        with pytest.raises(NotInStore, match="no such layer"):
            addition.add_image(whole.manifest, references=[parse_reference("base:1")])

    assert other.images() == []
    with pytest.raises(NotInStore):
        other.image("base:1")


@pytest.mark.parametrize(
    "text",
    [
        *("app", "app:latest", "library/app", "docker.io/library/app:latest"),
        *("{id}", "sha256:{id}", "{id:.12}", "{id:.2}", "sha256:{id:.12}"),
        *("{manifest}", "sha256:{manifest}", "app@sha256:{manifest}"),
    ],
)
def test_an_image_is_found_by(store: Store, text: str) -> None:
    add_image(store, ["base"], "other:1")
    image = add_image(store, ["base", "app"], "app")
    names = {"id": hex_of(image.image_id), "manifest": hex_of(image.manifest.digest)}

    assert store.image(text.format(**names)) == image


@pytest.mark.parametrize(
    "text", ["", "app:2", "sha256:", "x/app", "f" * 64, "app@sha256:" + "f" * 64, "-", "a b", "\0"]
)
def test_no_image_is_found_by(store: Store, text: str) -> None:
    add_image(store, ["base", "app"], "app:1")

    with pytest.raises(NotInStore, match="no such image"):
        store.image(text)


def test_a_name_without_a_host_may_be_any_registrys(store: Store) -> None:
    first = add_image(store, ["base"], "quay.io/team/app:1")

    assert store.image("app:1") == store.image("team/app:1") == first
    with pytest.raises(NotInStore):
        store.image("eam/app:1")
    add_image(store, ["app"], "localhost/team/app:1")
    with pytest.raises(Ambiguous, match=r"may be localhost/team/app:1 or quay\.io/"):
        store.image("app:1")
    docker = add_image(store, ["base", "app"], "app:1")
    assert store.image("app:1") == docker


def test_an_image_without_layers_is_an_empty_directory(store: Store) -> None:
    add_image(store, [], "scratch:1")

    with store.use_image("scratch:1")[1] as layers:
        (lower,) = layers.lower
        assert os.listdir(lower) == []
        assert stat.S_IMODE(os.stat(lower).st_mode) == 0o755

    assert list(store.check()) == []


def test_a_name_wins_over_the_beginning_of_an_id(store: Store) -> None:
    first = add_image(store, ["base"], "base:1")
    second = add_image(store, ["app"], hex_of(first.image_id)[:4])

    assert store.image(hex_of(first.image_id)[:4]) == second
    assert store.image(hex_of(first.image_id)[:5]).image_id == first.image_id


def test_the_beginning_of_two_ids_is_ambiguous(store: Store) -> None:
    ids = {add_image(store, ["base"], comment=str(number)).image_id for number in range(17)}
    assert len(ids) == 17
    first = [hex_of(image_id)[0] for image_id in ids]
    twice = next(digit for digit in first if first.count(digit) > 1)

    with pytest.raises(Ambiguous, match="images have IDs that begin so"):
        store.image(twice)


def test_a_tag_moves(store: Store) -> None:
    old = add_image(store, ["base"], "app:1")
    new = add_image(store, ["app"], "app:1")

    assert store.image("app:1") == new
    assert store.image(old.image_id).references == ()
    store.tag(old.image_id, parse_reference("app:old"))
    assert store.image("app:old").references == ("docker.io/library/app:old",)
