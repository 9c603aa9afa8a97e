"""What containers cost, beside podman with crun, crun alone, and copying a tree; in turns, medians.

Wall time, and processor time of all processes that a command waits for, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts.benchmarks.sessions import Sessions, use_fuse_overlayfs
from tests.system.beside_podman import ours, podman
from tests.system.engine import make_root_filesystem, mount_namespace
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.beside_podman import Side

_PER_DIRECTORY = 100
_MOUNT = """
    import os, sys, time
    from pathlib import Path
    from overlayfs_py.api import Store
    from overlayfs_py.containers import filesystem
    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.containers.launch import Launch
    from overlayfs_py.containers.name_files import Names
    if sys.argv[3] == "loaded":
        from overlayfs_py.drivers import direct_driver, service
        from overlayfs_py.packs import layer
    store = Store.open(Path(sys.argv[1]))
    record = store.containers.get(sys.argv[2])
    layers = store.containers.use_layers(record)
    directory = store.containers.directory(record.id)
    launch = Launch(record, directory, layers.lower, store.containers, store.volumes)
    mounted = filesystem.Filesystem(EventLoop(), launch)
    began = time.perf_counter()
    mounted.mount(Names())
    os.listdir(launch.root)
    print((time.perf_counter() - began) * 1000)
    mounted.close()
"""
_TESTS = """
    import pathlib, pytest
    pytestmark = pytest.mark.image("bench:100")

    @pytest.mark.parametrize("at", range({count}))
    def test_changes(rootfs, at):
        for name in ("bin/new", "etc/passwd", "files/0/1"):
            (pathlib.Path(rootfs) / name).write_text(str(at))
"""
_COPIES = """
    import shutil, pytest

    @pytest.mark.parametrize("at", range({count}))
    def test_changes(tmp_path, at):
        root = tmp_path / "root"
        shutil.copytree({tree!r}, root, symlinks=True)
        for name in ("bin/new", "etc/passwd", "files/0/1"):
            (root / name).write_text(str(at))
        shutil.rmtree(root)
"""


class Cost(NamedTuple):
    """What something took, in milliseconds."""

    wall: float
    cpu: float


def measured(call: Callable[[], object]) -> Cost:
    """What a call takes, with the processes that it waits for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    call()
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall * 1000, cpu * 1000)


def in_turns(calls: dict[str, Callable[[], object]], times: int) -> dict[str, Cost]:
    """The medians of each, measured one after the other so that noise hits all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            costs[name].append(measured(call))
    return {
        name: Cost(
            statistics.median(cost.wall for cost in found),
            statistics.median(cost.cpu for cost in found),
        )
        for name, found in costs.items()
    }


class Bench:
    """The two engines with the images `bench:100` and `bench:LARGE`."""

    def __init__(self, home: Path, namespace: int, chosen: argparse.Namespace) -> None:
        self.home = home
        self.chosen = chosen
        self.us = ours(home / "ours")
        self.podman = podman(home / "podman", namespace)
        self.us.timeout_s = self.podman.timeout_s = 900
        use_fuse_overlayfs(home / "podman")
        for count in (100, chosen.files):
            tree = home / f"tree-{count}"
            make_root_filesystem(tree)
            for at in range(count):
                directory = tree / f"files/{at // _PER_DIRECTORY}"
                if not at % _PER_DIRECTORY:
                    directory.mkdir(parents=True)
                (directory / str(at)).write_text(f"{at}\n")
            archive = home / "tree.tar"
            run(["tar", "-C", tree, "-cf", archive, "."])
            for side in (self.us, self.podman):
                self.done(side, "import", archive, f"bench:{count}")
        run([shutil.which("crun") or "crun", "spec"], cwd=self._bundle())

    def _bundle(self) -> Path:
        bundle = self.home / "bundle"
        if not bundle.exists():
            bundle.mkdir()
            (bundle / "rootfs").symlink_to(self.home / "tree-100")
        return bundle

    @staticmethod
    def done(side: Side, *words: object) -> str:
        answer = side(*words)
        if answer.code:
            sys.exit(f"{words}: {answer.error}")
        return answer.out

    def starting(self) -> dict[str, Cost]:
        """`run --rm IMAGE true`, start to end."""
        words = ("run", "--rm", "bench:100", "true")
        return in_turns(
            {
                "ours": lambda: self.done(self.us, *words),
                "podman": lambda: self.done(self.podman, *words),
                "crun alone": self._run_crun,
            },
            self.chosen.times,
        )

    def _run_crun(self) -> None:
        """Crun with what podman gives it here: no terminal, no cgroup, the host's network."""
        config = self.home / "bundle/config.json"
        made = json.loads(config.read_text())
        made["process"] |= {"terminal": False, "args": ["true"]}
        made["process"].pop("rlimits", None)
        made["linux"]["namespaces"] = [
            each
            for each in made["linux"]["namespaces"]
            if each["type"] not in ("network", "cgroup")
        ]
        config.write_text(json.dumps(made))
        enter = self.podman.argv[:-1]
        state = ("--root", self.home / "crun", "--cgroup-manager=disabled")
        words = ("run", "--bundle", config.parent, f"bench{time.monotonic_ns()}")
        run([*enter, "crun", *state, *words], env=self.podman.environment)

    def mounting(self) -> dict[str, float]:
        """A new container's root filesystem, from mount to its first listing; medians of wall."""
        store = self.home / "ours/data/overlayfs-py"
        found: dict[str, list[float]] = {}
        for at in range(self.chosen.times):
            for count in (100, self.chosen.files):
                for state in ("cold", "loaded"):
                    name = f"m{at}-{count}-{state}"
                    self.done(self.us, "create", "--name", name, f"bench:{count}", "true")
                    argv = [sys.executable, "-c", textwrap.dedent(_MOUNT), store, name, state]
                    took = float(run(argv, env=self.us.environment))
                    self.done(self.us, "rm", name)
                    found.setdefault(f"{count} files, {state}", []).append(took)
        return {name: statistics.median(each) for name, each in found.items()}

    def committing(self) -> dict[str, Cost]:
        """`commit` of one changed file in the large image."""
        for side in (self.us, self.podman):
            words = ("run", "--name", "one", f"bench:{self.chosen.files}")
            self.done(side, *words, "sh", "-c", "echo x > /files/0/1")
        costs = in_turns(
            {
                "ours": lambda: self.done(self.us, "commit", "one"),
                "podman with fuse-overlayfs": lambda: self.done(self.podman, "commit", "-q", "one"),
            },
            max(3, self.chosen.times // 3),
        )
        for side in (self.us, self.podman):
            self.done(side, "rm", "one")
        return costs

    def testing(self) -> dict[str, float]:
        """A pytest session: milliseconds per test, beside copying the tree."""
        count = self.chosen.tests
        scripts = {
            "rootfs": _TESTS.format(count=count),
            "copying the tree": _COPIES.format(count=count, tree=str(self.home / "tree-100")),
        }
        found = {}
        for name, script in scripts.items():
            path = self.home / f"test_{name.split()[0]}.py"
            path.write_text(textwrap.dedent(script))
            argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
            began = time.perf_counter()
            run(argv, env={**os.environ, **self.us.environment}, cwd=self.home, timeout=900)
            found[name] = (time.perf_counter() - began) * 1000 / count
        return found


def _lines(bench: Bench) -> Iterator[str]:
    yield "run --rm IMAGE true"
    yield from (
        f"  {name:28} {wall:7.0f} {cpu:7.0f}" for name, (wall, cpu) in bench.starting().items()
    )
    yield "a new container's root filesystem (wall)"
    yield from (f"  {name:28} {took:7.1f}" for name, took in bench.mounting().items())
    yield f"commit of one file of {bench.chosen.files}"
    yield from (
        f"  {name:28} {wall:7.0f} {cpu:7.0f}" for name, (wall, cpu) in bench.committing().items()
    )
    yield f"a session of {bench.chosen.tests} tests, per test (wall)"
    yield from (f"  {name:28} {took:7.1f}" for name, took in bench.testing().items())


def main() -> None:
    """Measure, and print a table: wall and processor time in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--files", type=int, default=100_000, help="of the large image")
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--debian", action="store_true", help="only a session on a Debian root")
    chosen = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="overlayfs-bench-"))
    namespaces = mount_namespace()
    try:
        if chosen.debian:
            lines = Sessions(home, next(namespaces)).lines(chosen.tests)
        else:
            lines = _lines(Bench(home, next(namespaces), chosen))
        for line in lines:
            print(line, flush=True)
    finally:
        namespaces.close()
        subprocess.run(
            ["umount", "-R", home / "podman/graph/overlay"], check=False, capture_output=True
        )
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
