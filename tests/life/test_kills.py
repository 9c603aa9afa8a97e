"""kill -9 of whatever belongs to a container, at random moments; see `kills`, `snapshot_kills`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.life.kills import Killing
from tests.life.snapshot_kills import SnapshotKilling
from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from tests.life.conftest import Engine


def test_what_is_killed_leaves_nothing(engine: Engine) -> None:
    Killing(engine, seed=12).round(kills=3)


@AS_ROOT
def test_files_are_of_before_or_of_after(engine: Engine) -> None:
    killing = SnapshotKilling(engine, seed=13)

    killing.round()
    killing.end()
