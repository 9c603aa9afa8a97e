from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import OverlayError
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import recorded_tar
from overlayfs_py.store.store import Store
from overlayfs_py.transfer.made_layers import add_tar
from tests.builds.building import Build, layer_of
from tests.builds.copy_cases import BASE, CASES, CONTEXT, STAGE, Case
from tests.builds.trees import changes
from tests.support.trees import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copying")


@pytest.fixture(scope="module")
def on_base(place: Path) -> Iterator[Build]:
    build(place / "base", BASE)
    build(place / "context", CONTEXT)
    build(place / "stage", STAGE)
    store = Store.open(place / "store")
    with store.add() as addition:
        base = layer_of(addition, place / "base")
        stages = {"stage": (layer_of(addition, place / "stage"),)}
        yield Build(store, addition, place / "context", (base,), stages)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_an_image_shows_anew(on_base: Build, tmp_path: Path, case: Case) -> None:
    if case.context is not None:
        build(tmp_path, case.context)
        on_base = replace(on_base, context=tmp_path)

    if isinstance(case.shows, str):
        with pytest.raises(OverlayError) as raised:
            on_base.run(case.instruction)
        assert str(raised.value) == case.shows
    else:
        assert changes(on_base.base, on_base.run(case.instruction)) == case.shows


def test_a_layer_gives_the_tar_of_its_digest(on_base: Build) -> None:
    layer = on_base.run("COPY . /all/")

    with Pack(layer.path) as pack:
        tar = list(recorded_tar(pack))
    again = add_tar(on_base.addition, [bytes(piece) for piece in tar])

    assert again.diff_id == layer.diff_id
