"""What goes and what stays: docker's rules for names, nothing that anybody needs for data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.digest import digest_of, hex_of
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.failures import InUse, NotInStore
from overlayfs_py.store.layers import LayerIngest
from tests.store.samples import add_image, add_layer, diff_id, write_layer
from tests.store.states import files, require_sound

if TYPE_CHECKING:
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

_APP = "docker.io/library/app"


def test_the_last_name_takes_the_image_and_all_that_only_it_needs(store: Store) -> None:
    base = add_image(store, ["base"], "base:1")
    before = files(store)
    image = add_image(store, ["base", "app"], "app:1")

    removal = store.remove_image("app:1")

    assert removal.untagged == (f"{_APP}:1",)
    assert removal.deleted == (image.image_id, image.config.chain_ids[1])
    assert removal.freed_bytes > 0
    assert files(store) == before
    assert store.images() == [base]


def test_the_very_last_image_leaves_nothing(store: Store) -> None:
    add_image(store, ["base", "app"], "app:1")

    store.remove_image("app:1")

    assert files(store) == []


def test_a_name_of_several_takes_only_itself(store: Store) -> None:
    add_image(store, ["base"], "app:1", "app:2")

    removal = store.remove_image("app:1")

    assert (removal.untagged, removal.deleted) == ((f"{_APP}:1",), ())
    assert store.image("app:2").references == (f"{_APP}:2",)


def test_an_id_takes_its_only_name(store: Store) -> None:
    image = add_image(store, ["base"], "app:1", repositories=[_APP])

    removal = store.remove_image(hex_of(image.image_id)[:12])

    assert removal.untagged == (f"{_APP}:1", f"{_APP}@{image.manifest.digest}")
    assert store.images() == []


@pytest.mark.parametrize("second", ["other:1", "app:2"])
def test_an_id_of_several_names_is_refused(store: Store, second: str) -> None:
    image = add_image(store, ["base"], "app:1", second)

    with pytest.raises(InUse, match="names in several repositories"):
        store.remove_image(image.image_id)

    assert store.images() == [image]
    assert len(store.remove_image(image.image_id, force=True).untagged) == 2
    assert store.images() == []


def test_the_last_tag_of_a_repository_takes_its_digest(store: Store) -> None:
    image = add_image(store, ["base"], "app:1", "other:1", repositories=[_APP])

    removal = store.remove_image("app:1")

    assert removal.untagged == (f"{_APP}:1", f"{_APP}@{image.manifest.digest}")
    assert store.image("other:1").repo_digests == ()
    with pytest.raises(NotInStore):
        store.image(f"app@{image.manifest.digest}")


def test_a_digest_goes_without_the_tag(store: Store) -> None:
    image = add_image(store, ["base"], "app:1", repositories=[_APP])

    removal = store.remove_image(f"app@{image.manifest.digest}")

    assert removal.untagged == (f"{_APP}@{image.manifest.digest}",)
    assert store.image("app:1").repo_digests == ()


def test_an_image_known_by_digest_alone_goes_with_it(store: Store) -> None:
    image = add_image(store, ["base"], repositories=[_APP])

    store.remove_image(f"app@{image.manifest.digest}")

    assert files(store) == []


def _push(store: Store, image: StoredImage, *repositories: str) -> list[str]:
    """Note that an image was pushed; returns what it can be pulled by since."""
    pushed = [f"{name}@{image.manifest.digest}" for name in repositories]
    with store.add() as addition:
        for name in pushed:
            addition.note_pushed(image.manifest.digest, name)
    return pushed


def test_where_an_image_was_pushed_to_keeps_nothing(store: Store) -> None:
    image = add_image(store, ["base"], "app:1")
    pushed = _push(store, image, "quay.io/x/app")
    assert store.image("app:1").repo_digests == (*pushed,)

    removal = store.remove_image("app:1")

    assert removal.untagged == (f"{_APP}:1", *pushed)
    assert files(store) == []


def test_an_id_goes_wherever_it_was_pushed_to(store: Store) -> None:
    image = add_image(store, ["base"], "app:1")
    _push(store, image, "quay.io/x/app", "ghcr.io/x/app")

    assert len(store.remove_image(image.image_id).untagged) == 3
    assert files(store) == []


def test_what_was_pushed_goes_by_its_digest_and_the_image_with_its_last_name(store: Store) -> None:
    image = add_image(store, ["base"], "app:1")
    first, second = _push(store, image, "quay.io/x/app", "ghcr.io/x/app")

    store.remove_image(first)
    assert store.image("app:1").repo_digests == (second,)
    store.tag("app:1", parse_reference("app:2"))
    store.remove_image("app:1")
    add_image(store, ["base"], "app:2", comment="another one")
    assert store.image(second).references == ()
    store.remove_image(second)

    with pytest.raises(NotInStore):
        store.image(image.image_id)


def test_a_mounted_image_stays(store: Store) -> None:
    add_image(store, ["base", "app"], "app:1", "app:2")
    with store.use_image("app:1")[1]:
        store.remove_image("app:1")
        with pytest.raises(InUse, match="mounted"):
            store.remove_image("app:2")
        assert store.prune(tagged=True).deleted == ()
        assert store.image("app:2").references == (f"{_APP}:2",)

    assert store.remove_image("app:2").deleted


def test_a_mounted_image_removed_by_force_keeps_its_layers_until_it_is_unmounted(
    store: Store,
) -> None:
    add_image(store, ["base", "app"], "app:1")
    with store.use_image("app:1")[1]:
        store.remove_image("app:1", force=True)
        store.collect()
        assert store.find_layer(diff_id("base")) is not None
        assert store.images() == []

    store.collect()
    assert files(store) == []


def test_a_mounted_layer_keeps_no_other_image(store: Store) -> None:
    add_image(store, ["base"], "base:1")
    add_image(store, ["base", "app"], "app:1")

    with store.use_image("app:1")[1]:
        assert store.remove_image("base:1").deleted


def test_prune_takes_what_no_tag_names(store: Store) -> None:
    old = add_image(store, ["base"], "app:1")
    new = add_image(store, ["app"], "app:1")

    removal = store.prune()

    assert removal.deleted == (old.image_id, old.config.chain_ids[0])
    assert store.images() == [new]
    require_sound(store)
    assert store.prune(tagged=True).untagged == (f"{_APP}:1",)
    assert files(store) == []


def test_what_an_addition_works_on_is_not_collected(store: Store) -> None:
    with store.add() as addition:
        digest = addition.put_blob(b"config")
        add_layer(addition, "base")
        with addition.ingest_layer(diff_id("app")) as ingest:
            assert isinstance(ingest, LayerIngest)
            facts = write_layer(ingest, "app")
            store.collect()
            addition.commit_layer(ingest, facts)
        store.collect()
        assert addition.has_blob(digest)
        assert addition.find_layer(diff_id("base")) is not None
        assert addition.find_layer(diff_id("app")) is not None

    store.collect()
    assert files(store) == []


def test_what_was_found_is_not_collected(store: Store) -> None:
    add_image(store, ["base"], "base:1")

    with store.add() as addition:
        assert addition.find_layer(diff_id("base")) is not None
        assert addition.find_layer(diff_id("later")) is None
        store.remove_image("base:1")
        add_layer(addition, "later")
        store.collect()
        assert addition.find_layer(diff_id("base")) is not None
        assert addition.find_layer(diff_id("later")) is not None


def test_an_unfinished_download_goes_with_prune_alone(store: Store) -> None:
    add_image(store, ["base"], "base:1")
    with store.add() as addition, addition.download(digest_of(b"data")) as download:
        download.append(b"da")
        store.prune()
        assert download.path.exists()

    store.remove_image("base:1")
    assert download.path.exists()
    assert store.prune().freed_bytes > 0
    assert not download.path.exists()


def test_what_a_damaged_image_may_need_is_not_collected(store: Store) -> None:
    image = add_image(store, ["base"], "base:1")
    add_image(store, ["app"], "app:1")
    (store.root / "blobs/sha256" / hex_of(image.manifest.digest)).unlink()

    store.remove_image("app:1")

    assert store.find_layer(diff_id("base")) is not None
