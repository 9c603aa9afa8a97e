"""Measure overlayfs-py beside its peers, over the same layers, in turns.

Every workload runs on a fresh mount of every side, round after round; the host has the layers in
memory. A command that fails, or whose result is wrong, counts as FAILED. Prints tables, and writes
results.json, results.md and results.svg. docs/benchmarks/README.md says how to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks import (
    at_rest,
    changing,
    chart,
    copying,
    crowds,
    figures,
    machine,
    programs,
    reading,
    starting,
    table,
)
from scripts.benchmarks.ground import Ground, scratch_on
from scripts.benchmarks.mounts import Place
from scripts.benchmarks.results import Results
from scripts.benchmarks.session import measure
from scripts.benchmarks.sides import SIDES
from scripts.benchmarks.stacks import CACHE, Stacks
from scripts.benchmarks.workload import QUICK, Scale

if TYPE_CHECKING:
    from scripts.benchmarks.sides import Side
    from scripts.benchmarks.workload import Workload

_ROUNDS = 5
WORKLOADS = {
    workload.name: workload
    for family in (reading, programs, changing, copying, crowds, starting, figures, at_rest)
    for workload in family.FAMILY
}


def main() -> None:
    """Run the command."""
    arguments = _parse()
    if os.geteuid():
        raise SystemExit("bench: mounting needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so unmount
    scale = QUICK if arguments.quick else Scale()
    rounds = arguments.rounds or (1 if arguments.quick else _ROUNDS)
    CACHE.mkdir(parents=True, exist_ok=True)
    with scratch_on(Ground(arguments.on), CACHE) as scratch:
        bench = Bench(scratch, scale, arguments.only, arguments.sides)
        where = machine.described() | {"rounds": rounds, "on": arguments.on}
        where["quick"] = arguments.quick
        try:
            bench.run(rounds)
        except KeyboardInterrupt:
            _say("interrupted: these are the figures so far")
    _publish(bench, where, arguments.output)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"workloads: {' '.join(WORKLOADS)}\nsides: {' '.join(SIDES)}",
    )
    parser.add_argument(
        "--only",
        type=lambda text: _chosen(text, list(WORKLOADS)),
        default=list(WORKLOADS),
        metavar="A,B",
        help="only these workloads",
    )
    parser.add_argument(
        "--sides",
        type=lambda text: _chosen(text, list(SIDES)),
        metavar="A,B",
        help="only these sides (default: all but the variants of one)",
    )
    parser.add_argument("--rounds", type=int, help=f"default: {_ROUNDS}; 1 with --quick")
    parser.add_argument(
        "--on",
        choices=[ground.value for ground in Ground],
        default=Ground.DISK.value,
        help="where uppers lie (default: %(default)s, that of the layers; ext4: a new one)",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for trying things out")
    parser.add_argument(
        "--output", type=Path, default=CACHE / "latest", help="directory (default: %(default)s)"
    )
    return parser.parse_args()


def _chosen(text: str, known: list[str]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return [name for name in known if name in names]


class Bench:
    """A run: chosen workloads on chosen sides."""

    def __init__(
        self, scratch: Path, scale: Scale, workloads: list[str], sides: list[str] | None
    ) -> None:
        """Choose, leaving out sides that this machine does not have; `sides` None: the usual."""
        self._scratch = scratch
        self._scale = scale
        self._stacks = Stacks(CACHE)
        self._workloads = [WORKLOADS[name] for name in workloads]
        self._sides = sides or [side.name for side in SIDES.values() if side.by_default]
        # The sides that a workload adds are for whoever did not choose.
        self._may_add = sides is None
        self.missing: dict[str, str] = {}
        tried = {side.name for workload in self._workloads for side in self._sides_of(workload)}
        self._look_for([name for name in SIDES if name in tried])
        names = [name for name in SIDES if name in tried and name not in self.missing]
        cases = [case for workload in self._workloads for case in workload.cases]
        self.results = Results(cases, names)

    def run(self, rounds: int) -> None:
        """Measure everything so many times, in turns."""
        for number in range(rounds):
            for workload in self._workloads:
                if number == 0 or not workload.is_steady:
                    self._run_once(workload, number)

    def _run_once(self, workload: Workload, number: int) -> None:
        stack = self._stacks.get(workload.stack(self._scale))
        stack.warm()
        sides = self._sides_of(workload)
        # Another one begins in each round: nobody always follows the same neighbour.
        start = number % max(len(sides), 1)
        for side in sides[start:] + sides[:start]:
            _say(f"round {number + 1}: {workload.name}, {side.name}")
            place = Place(self._scratch / "place", stack, workload.is_read_only)
            samples, failures = measure(workload, side, place, self._stacks, self._scale)
            self.results.add(side.name, samples, failures)
            for failure in failures:
                _say(f"FAILED: {failure.case}, {side.name}: {failure.reason}")

    def _sides_of(self, workload: Workload) -> list[Side]:
        added = workload.also if self._may_add else ()
        return [
            side
            for name, side in SIDES.items()
            if (name in self._sides or name in added)
            and name not in self.missing
            and (workload.is_read_only or not side.is_read_only)
            and workload.applies(side)
        ]

    def _look_for(self, names: list[str]) -> None:
        debian = self._stacks.get("debian")
        for name in names:
            reason = SIDES[name].missing(debian, self._scratch / "probe")
            if reason is not None:
                self.missing[name] = reason
                _say(f"{name} is not available: {reason}")


def _publish(bench: Bench, where: dict[str, object], output: Path) -> None:
    results = bench.results
    absent = "".join(f"Not available: {name}: {why}\n" for name, why in bench.missing.items())
    text = f"# Benchmark\n\n{machine.caption(where)}\n{absent}\n{table.render(results)}"
    document = where | {
        "not_available": bench.missing,
        "cases": [summary.as_json() for summary in results.summaries()],
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (output / "results.md").write_text(text)
    (output / "results.svg").write_text(chart.render(results, machine.caption(where)))
    sys.stdout.write(text)
    _say(f"written to {output}")


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
