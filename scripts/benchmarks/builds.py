"""What building again costs beside buildah and BuildKit; in turns, medians, in milliseconds.

Processor time is that of all processes that a command waits for, and of BuildKit's daemon.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scripts.benchmarks.containers import Cost, measured
from tests.system.engine import make_root_filesystem

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEPS = 20
_PER_DIRECTORY = 100
_TICKS = os.sysconf("SC_CLK_TCK")


class Side(Protocol):
    """A builder that has the images `base` and `large`."""

    name: str

    def build(self, context: Path, argument: str) -> None:
        """Build what is in a context, with a value for the ARG N."""

    def other_ms(self) -> float:
        """The processor time so far of processes that are no children of ours."""


def _run(words: Sequence[object], **environment: str) -> str:
    done = subprocess.run(
        [*map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    if done.returncode:
        sys.exit(f"{words}: {done.stderr}")
    return done.stdout


class Ours:
    name = "ours"

    def __init__(self, home: Path) -> None:
        self._program = Path(sys.executable).parent / "overlayfs-py"
        self._data = str(home / "data")

    def run(self, *words: object) -> None:
        _run([self._program, *words], XDG_DATA_HOME=self._data)

    def build(self, context: Path, argument: str) -> None:
        self.run("build", "-q", "-t", "made", "--build-arg", f"N={argument}", context)

    def other_ms(self) -> float:
        return 0


class Buildah:
    def __init__(self, home: Path, driver: str, images: Sequence[str]) -> None:
        self.name = f"buildah, {driver}"
        place = home / f"buildah-{driver}"
        self._words = ["buildah", "--root", place / "root", "--runroot", place / "run"]
        self._words += ["--storage-driver", driver]
        for name in images:
            _run([*self._words, "pull", "-q", f"oci:{home / name}"])
            newest = _run([*self._words, "images", "-q"]).split()[0]
            _run([*self._words, "tag", newest, f"localhost/{name}"])

    def build(self, context: Path, argument: str) -> None:
        words = ["bud", "-q", "--layers", "--isolation", "chroot", "--pull-never", "-t", "made"]
        _run([*self._words, *words, "--build-arg", f"N={argument}", context])

    def other_ms(self) -> float:
        return 0


class BuildKit:
    name = "buildctl"

    def __init__(self, home: Path, program: str, place: Path, images: Sequence[str]) -> None:
        self._pid = int((place / "pid").read_text())
        self._words: list[object] = [program, "--addr", f"unix://{place / 'sock'}", "build"]
        self._words += ["--progress=plain", "--frontend", "dockerfile.v0"]
        self._words += ["--output", f"type=image,name=made-{os.getpid()},store=false"]
        for name in images:
            digest = json.loads((home / name / "index.json").read_bytes())["manifests"][0]["digest"]
            self._words += ["--oci-layout", f"{name}={home / name}"]
            self._words += ["--opt", f"context:{name}=oci-layout://{name}@{digest}"]

    def build(self, context: Path, argument: str) -> None:
        places = ["--local", f"context={context}", "--local", f"dockerfile={context}"]
        _run([*self._words, *places, "--opt", f"build-arg:N={argument}"])

    def other_ms(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * 1000 / _TICKS


def _files(directory: Path, count: int) -> None:
    for at in range(count):
        if at % _PER_DIRECTORY == 0:
            below = directory / f"{at // _PER_DIRECTORY}"
            below.mkdir(parents=True)
        (below / f"{at % _PER_DIRECTORY}").write_text(f"{at} of the files\n" * 5)


def _rebuilt(home: Path, files: int) -> Path:
    """A context of so many files, and a Dockerfile of twenty steps."""
    context = home / f"context-{files}"
    _files(context / "files", files)
    steps = [f"RUN echo {at} > /{at}" for at in range(_STEPS - 2)]
    lines = ["FROM base", "COPY . /context/", "WORKDIR /work", *steps]
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    return context


def _changing(home: Path) -> Path:
    context = home / "changing"
    context.mkdir()
    text = "FROM large\nARG N\nRUN echo $N > /files/5/5\n"
    (context / "Dockerfile").write_text(text)
    return context


def _in_turns(sides: Sequence[Side], context: Path, times: int, *, changes: bool) -> None:
    costs: dict[str, list[Cost]] = {side.name: [] for side in sides}
    for side in sides:
        side.build(context, "first")
    for at in range(times):
        for side in sides:
            argument = f"{os.getpid()}-{at}" if changes else "first"
            before = side.other_ms()
            cost = measured(lambda: side.build(context, argument))  # noqa: B023 - called at once
            costs[side.name].append(Cost(cost.wall, cost.cpu + side.other_ms() - before))
    ours = statistics.median(cost.cpu for cost in costs[Ours.name])
    for name, found in costs.items():
        wall = statistics.median(cost.wall for cost in found)
        cpu = statistics.median(cost.cpu for cost in found)
        print(f"  {name:16} wall {wall:8.0f}  processor {cpu:8.0f}  ours is {ours / cpu:.2f} of it")


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--files", type=int, default=30_000, help="of the context")
    parser.add_argument("--image-files", type=int, default=100_000)
    parser.add_argument("--buildctl", metavar="PROGRAM")
    parser.add_argument(
        "--place", type=Path, help="of the buildkitd that scripts/setup-buildkit's `up` has started"
    )
    parser.add_argument("--buildah", action="append", default=[], metavar="DRIVER")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        home = Path(directory)
        make_root_filesystem(home / "root")
        ours = Ours(home)
        images = ("base", "large")
        for name in images:
            if name == "large":
                _files(home / "root/files", asked.image_files)
            _run(["tar", "-C", home / "root", "-cf", home / "root.tar", "."])
            ours.run("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", home / "root.tar", name)
            ours.run("save", "--format", "oci-dir", "-o", home / name, name)
        sides: list[Side] = [ours]
        sides += [Buildah(home, driver, images) for driver in asked.buildah]
        if asked.buildctl:
            sides.append(BuildKit(home, asked.buildctl, asked.place, images))
        for files in (10, asked.files):
            print(f"nothing has changed, {_STEPS} steps, {files} files in the context", flush=True)
            _in_turns(sides, _rebuilt(home, files), asked.times, changes=False)
        print(f"a step that changes one file in an image of {asked.image_files}", flush=True)
        _in_turns(sides, _changing(home), asked.times, changes=True)


if __name__ == "__main__":
    main()
