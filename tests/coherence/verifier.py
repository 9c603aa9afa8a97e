"""Mount, let processes read and write one file after the other for a while, report.

    python -m tests.coherence.verifier [--minutes M] [--seed N] [MODE ...]

Prints a line of JSON per mode, and ends with 1 where a file did not hold what was written.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.coherence.model import ALL, SIZE, UNITS, Model, content
from tests.coherence.views import Views
from tests.coherence.worker import Worker, settle
from tests.support import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.queues import SimpleQueue

    Mounter = Callable[[Path, list[Path]], AbstractContextManager[mounts.Mounted]]

_WORKERS = 4
_ROUND_S = 2.5
_FILES = 40  # per mount, every other one in a layer
_NO_FALLOCATE = (
    *("punch", "zero", "zero_keeping_size", "grow_by_allocation"),
    "no fallocate in pyfuse3",
)
_VOLUME = "shared"


class Mode(NamedTuple):
    """A way to mount, and what cannot be asked of it."""

    mount: Mounter
    missing: tuple[str, ...] = ()
    volume: bool = False  # the files lie in a volume, and are changed behind the mount as well
    times: bool = True  # those that are shown are those of the file


def _ours(driver: str, *options: str) -> Mounter:
    return partial(mounts.ours, driver=driver, options=options)


def _with_volume(driver: str) -> Mounter:
    def mount(base: Path, lowers: list[Path]) -> AbstractContextManager[mounts.Mounted]:
        (base / _VOLUME).mkdir()
        option = f"volume={base / _VOLUME}:/{_VOLUME}"
        return mounts.ours(base, lowers, driver=driver, options=(option,))

    return mount


MODES = {
    "direct": Mode(_ours("direct")),
    "passthrough": Mode(_ours("direct", "io=passthrough")),
    "writeback": Mode(_ours("direct", "writeback"), times=False),
    "pyfuse3": Mode(_ours("pyfuse3"), _NO_FALLOCATE),
    "direct-volume": Mode(_with_volume("direct"), volume=True),
    "pyfuse3-volume": Mode(_with_volume("pyfuse3"), _NO_FALLOCATE, volume=True),
    "kernel": Mode(mounts.kernel_overlay),
}


class Place(NamedTuple):
    """Where a file is."""

    shown: Path
    behind: Path


def verify(mode: Mode, seconds: float, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how often each thing was done, and what was found wrong."""
    counts: Counter[str] = Counter()
    until = time.monotonic() + seconds
    complaints: list[str] = []
    chance = random.Random(seed)
    while time.monotonic() < until and not complaints:
        with tempfile.TemporaryDirectory(prefix="overlayfs-coherence-") as base:
            for place in _places(mode, Path(base), until):
                found, complaints = _one_round(mode, place, Path(base), chance.getrandbits(32))
                counts += found
                if complaints or time.monotonic() > until:
                    break
    return counts, complaints


def _places(mode: Mode, base: Path, until: float) -> Iterator[Place]:
    """Mount, and name one file after the other, made of zeros in the upper, in a layer, ..."""
    lower = base / "lower"
    lower.mkdir()
    for number in range(0, _FILES, 2):
        (lower / str(number)).write_bytes(bytes(SIZE))
    with mode.mount(base, [lower]) as mounted:
        assert mounted.upper is not None
        for number in range(_FILES):
            if time.monotonic() > until:
                return
            if mode.volume:
                place = Place(mounted.root / _VOLUME / str(number), base / _VOLUME / str(number))
            else:
                place = Place(mounted.root / str(number), mounted.upper / str(number))
            if not place.shown.exists():
                place.shown.write_bytes(bytes(SIZE))
            yield place


def _one_round(mode: Mode, place: Place, base: Path, seed: int) -> tuple[Counter[str], list[str]]:
    shared = mmap.mmap(-1, UNITS * 8)
    results: SimpleQueue[tuple[Counter[str], str]] = multiprocessing.SimpleQueue()
    arguments = [(mode, place, base, shared, seed, number, results) for number in range(_WORKERS)]
    processes = [
        multiprocessing.get_context("fork").Process(target=_work, args=given) for given in arguments
    ]
    for process in processes:
        process.start()
    counts: Counter[str] = Counter()
    complaints = []
    for process in processes:
        process.join()
        if process.exitcode != 0:
            complaints.append(f"a process ended with {process.exitcode}")
    while not results.empty():
        found, complaint = results.get()
        counts += found
        if complaint:
            complaints.append(complaint)
    return counts, complaints or _settled(mode, place, base, shared)


def _work(
    mode: Mode,
    place: Place,
    base: Path,
    shared: mmap.mmap,
    seed: int,
    number: int,
    results: SimpleQueue[tuple[Counter[str], str]],
) -> None:
    model = Model(shared, base / "locks", number + 1)
    complaint = ""
    # Of several processes that read at the moment when the kernel hears of a change behind the
    # mount, one may be given pages that another is about to drop: so there is one of them.
    path = place.behind if mode.volume and number else place.shown
    with ExitStack() as opened:
        with model.held(ALL, shared=True):  # it has its full size
            views = Views(path, path.with_name(f"aside-{number}"), opened)
        worker = Worker(model, views, seed + number, mode.missing, behind=mode.volume)
        try:
            worker.work(time.monotonic() + _ROUND_S)
        except Exception:
            complaint = f"seed {seed} process {number} of {place.shown.name}:\n"
            complaint += traceback.format_exc()
        results.put((worker.counts, complaint))


def _settled(mode: Mode, place: Place, base: Path, shared: mmap.mmap) -> list[str]:
    model = Model(shared, base / "locks", 0)
    try:
        with ExitStack() as opened:
            views = Views(place.shown, place.shown.with_name("aside"), opened)
            if not place.behind.exists():  # nobody has changed it
                assert content(model.stamps(ALL)) == bytes(SIZE)
                return []
            settle(model, views, os.fspath(place.behind), times=mode.times)
    except AssertionError as wrong:
        return [f"{place.shown.name}: {wrong}"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modes", nargs="*", metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    wrong = False
    for name in given.modes or [name for name in MODES if name != "kernel"]:
        counts, complaints = verify(MODES[name], given.minutes * 60, given.seed)
        wrong = wrong or bool(complaints)
        report = {
            "mode": name,
            "minutes": given.minutes,
            "operations": counts.total(),
            "compared": sum(number for way, number in counts.items() if way.startswith("read_")),
            "mismatches": complaints,
            "counts": counts,
        }
        print(json.dumps(report), flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
