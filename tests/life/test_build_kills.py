"""Builds that are killed, have no room, or run twice at once; see `build_kills`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.life.build_kills import Killing, small_engine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("user", "ways"), [("root", ("kill when full",)), ("ordinary", ("kill one of two",))]
)
def test_the_next_build_is_right(small_root: Path, user: str, ways: tuple[str, ...]) -> None:
    with small_engine(small_root, is_user=user != "root") as engine:
        killing = Killing(engine, seed=13)
        for way in ways:
            killing.round(way)
