"""The time until a mount can be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from scripts.benchmarks import mounts
from scripts.benchmarks.mounts import Place
from scripts.benchmarks.processes import FailedError, require, run, run_tolerantly
from scripts.benchmarks.workload import Family, is_overlay

if TYPE_CHECKING:
    from scripts.benchmarks.session import Session

FAMILY = Family()
MOUNT = "mount until the first ls returns"
BARE = "python3 -c pass"


@FAMILY.add("mount", MOUNT, BARE, applies=is_overlay, is_mounted=False)
def mount(session: Session) -> None:
    for number in range(session.scale.mounts):
        place = Place(session.place.base / f"mount-{number}", session.stack)
        place.make()
        _mount_once(session, place)
        with session.timed(BARE):
            run([sys.executable, "-c", "pass"])


def _mount_once(session: Session, place: Place) -> None:
    if session.side.background is None:
        raise FailedError("nothing to mount")
    try:
        with session.timed(MOUNT):
            run_tolerantly(session.side.background(place))
            listed = run(["ls", place.target])
    finally:
        mounts.unmount(place.target)
    require(b"usr\n" in listed, f"ls shows {listed!r}")
