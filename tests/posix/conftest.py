"""The layers and mounts that the table of checks runs over: one mount per side."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.posix.checks", "tests.posix.expecting")

from tests.posix.prepared import Placement, build_visible  # noqa: E402 - after the line above
from tests.posix.sides import Layers, MountedSides, Side, layers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.posix.registry import Check


@pytest.fixture(scope="session")
def prepared_layers(request: pytest.FixtureRequest) -> Iterator[Layers]:
    selected = {
        item.callspec.params["check"].name: item.callspec.params["check"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "prepared_root" in item.fixturenames
    }
    with layers(selected.values()) as made:
        yield made


@pytest.fixture(scope="session")
def mounted_sides(prepared_layers: Layers) -> Iterator[MountedSides]:
    with ExitStack() as at_end:
        yield MountedSides(prepared_layers, at_end)


@pytest.fixture
def prepared_root(
    mounted_sides: MountedSides, side: Side, check: Check, placement: Placement
) -> Path:
    """The directory of one check, with the prepared tree in it."""
    root = mounted_sides.root(side) / placement.value / check.name
    if placement is Placement.UPPER:
        build_visible(root, check.extra)
    return root
