"""One table of POSIX checks over a plain directory, kernel overlayfs and our mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.posix.registry import Check, all_checks
from tests.posix.sides import SIDES, Side

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.departures import Departure
    from tests.posix.prepared import Placement

TABLE = all_checks()
RUNS = [
    pytest.param(side, placement, check, id=f"{side.name}-{placement.value}-{check.name}")
    for side in SIDES.values()
    for placement in side.placements
    for check in TABLE.values()
    if side.settles(check, placement)
]


@pytest.mark.parametrize(("side", "placement", "check"), RUNS)
def test_posix(check: Check, side: Side, placement: Placement, prepared_root: Path) -> None:
    departure = side.departure(check, placement)
    if departure is None:
        check.run(prepared_root)
    else:
        _demand_departure(check, prepared_root, departure)


def _demand_departure(check: Check, root: Path, departure: Departure) -> None:
    kind = OSError if departure.error else AssertionError
    with pytest.raises(kind) as caught:
        check.run(root)
    if isinstance(caught.value, OSError):
        assert caught.value.errno == departure.error, departure.reason


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES.keys())
def test_departures_name_checks_that_exist(side: Side) -> None:
    assert side.departures.keys() <= TABLE.keys()
