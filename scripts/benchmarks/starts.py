"""What commands cost that do little, as they start and from a warm process; in turns, medians.

Processor time is that of all processes, the warm one's too: the whole script runs in a cgroup of
its own (root, a cpuacct or a unified hierarchy). Ratios are to `python3 -I -S -c pass`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts.benchmarks.containers import Bench
from tests.system.engine import mount_namespace
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS = 20
_SETTLES_S = 0.05  # what a command leaves ends meanwhile, and is counted


class Cost(NamedTuple):
    """Milliseconds."""

    wall: float
    cpu: float


class Group:
    """A cgroup that this process and all that it starts are in."""

    def __init__(self) -> None:
        legacy = Path("/sys/fs/cgroup/cpuacct")
        self._is_legacy = legacy.is_dir()
        self._path = (
            legacy if self._is_legacy else Path("/sys/fs/cgroup")
        ) / f"starts{os.getpid()}"
        self._path.mkdir()
        (self._path / "cgroup.procs").write_text("0")

    def used_ms(self) -> float:
        if self._is_legacy:
            return int((self._path / "cpuacct.usage").read_text()) / 1e6
        return int((self._path / "cpu.stat").read_text().split()[1]) / 1e3

    def close(self) -> None:
        (self._path.parent / "cgroup.procs").write_text("0")
        self._path.rmdir()


class Starts(Bench):
    """The commands that are measured."""

    def __init__(self, home: Path, namespace: int, chosen: argparse.Namespace) -> None:
        super().__init__(home, namespace, chosen)
        runtime = home / "runtime"
        runtime.mkdir(mode=0o700)
        self.program = self.us.argv[0]
        self.cold = dict(self.us.environment)
        self.warm = {**self.cold, "XDG_RUNTIME_DIR": str(runtime)}
        context = self.home / "context"
        context.mkdir()
        steps = "".join(f"RUN echo {at} > /step{at}\n" for at in range(_STEPS - 1))
        (context / "Dockerfile").write_text(f"FROM bench:100\n{steps}COPY Dockerfile /\n")
        run([self.program, "build", "-q", context], env=self.cold)
        run([self.program, "warm", "start"], env=self.warm)
        (self.home / "mnt").mkdir()

    def commands(self) -> dict[str, list[str]]:
        return {
            "--version": ["--version"],
            "image ls": ["image", "ls"],
            "run --rm IMAGE true": ["run", "--rm", "bench:100", "true"],
            f"build, {_STEPS} steps, no change": ["build", "-q", str(self.home / "context")],
            "chroot DIR true": ["chroot", str(self.home / "tree-100"), "--", "true"],
            "mount, ls, umount": ["mount"],
        }

    def called(self, words: list[str], environment: dict[str, str]) -> Callable[[], object]:
        if words != ["mount"]:
            return lambda: run([self.program, *words], env=environment)
        place, tree = str(self.home / "mnt"), self.home / "tree-100"

        def mount() -> None:
            run([self.program, "mount", "-o", f"lowerdir={tree}", place], env=environment)
            os.listdir(place)
            run(["umount", place])

        return mount

    def sides(self, name: str, words: list[str]) -> dict[str, Callable[[], object]]:
        found = {"cold": self.called(words, self.cold), "warm": self.called(words, self.warm)}
        if name.startswith("run"):
            found["podman"] = lambda: self.done(self.podman, *words)
        return found


def _measured(group: Group, call: Callable[[], object]) -> Cost:
    before, began = group.used_ms(), time.perf_counter()
    call()
    wall = (time.perf_counter() - began) * 1000
    time.sleep(_SETTLES_S)
    return Cost(wall, group.used_ms() - before)


def _bare() -> None:
    subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)


def main() -> None:
    """Print a line for each command and way: wall and processor time, medians and least."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--only", default="", help="of the commands those with this in their name")
    chosen = parser.parse_args()
    chosen.files = 200
    home = Path(tempfile.mkdtemp(prefix="overlayfs-starts-"))
    namespaces = mount_namespace()
    group = Group()
    starts = Starts(home, next(namespaces), chosen)
    try:
        print(f"load {os.getloadavg()[0]:.0f}; wall and cpu, median / least, ms; x bare cpu")
        for name, words in starts.commands().items():
            if chosen.only in name:
                _print(name, starts.sides(name, words), group, chosen.times)
        print(run([starts.program, "warm", "status"], env=starts.warm))
    finally:
        run([starts.program, "warm", "stop"], env=starts.warm)
        namespaces.close()
        subprocess.run(
            ["umount", "-R", home / "podman/graph/overlay"], check=False, capture_output=True
        )
        shutil.rmtree(home)
        time.sleep(1)  # for what was just killed
        group.close()


def _print(name: str, sides: dict[str, Callable[[], object]], group: Group, times: int) -> None:
    calls = {"bare": _bare, **sides}
    costs: dict[str, list[Cost]] = {side: [] for side in calls}
    for _ in range(times):
        for side, call in calls.items():
            costs[side].append(_measured(group, call))
    bare = statistics.median(each.cpu for each in costs["bare"])
    for side, found in costs.items():
        wall, cpu = ([each[at] for each in found] for at in (0, 1))
        middle = statistics.median(cpu)
        print(
            f"{name:28} {side:7} {statistics.median(wall):6.0f} / {min(wall):4.0f}"
            f" {middle:7.1f} / {min(cpu):5.1f} {middle / bare:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
