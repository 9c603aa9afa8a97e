"""kill -9 of whatever belongs to a container, at random moments; see `kills`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.life.kills import Killing

if TYPE_CHECKING:
    from tests.life.conftest import Engine


def test_what_is_killed_leaves_nothing(engine: Engine) -> None:
    Killing(engine, seed=12).round(kills=3)
