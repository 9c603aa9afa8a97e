"""The layers that are mounted: made once, kept in a cache, only read from then on."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import count_bytes, run

if TYPE_CHECKING:
    from collections.abc import Callable

_DEBIAN_ROOT = Path(__file__).resolve().parents[1] / "debian-root"
_MIB = 1 << 20
CACHE = Path("/var/cache/overlayfs-py/bench")
THIN_LAYERS = 30
NAMES_PER_DIRECTORY = 1000
LARGE_FILE = "large"
CROWD = "crowd"


@dataclass(frozen=True)
class Stack:
    """Layers, topmost first. None of ours holds a whiteout: their union is all they show."""

    layers: tuple[Path, ...]

    @cached_property
    def entries(self) -> dict[str, Path]:
        """The relative path of everything in it but its root, with where that lies."""
        found: dict[str, Path] = {}
        for layer in reversed(self.layers):
            for parent, directories, files in os.walk(layer):
                for name in (*directories, *files):
                    path = Path(parent, name)
                    found[str(path.relative_to(layer))] = path
        return found

    @cached_property
    def files(self) -> list[str]:
        """The relative paths of its regular files, in order."""
        entries = self.entries.items()
        return sorted(name for name, path in entries if path.is_file() and not path.is_symlink())

    @cached_property
    def merged(self) -> Path:
        """A directory that holds what the stack shows: the layer itself where it is the only one.

        Made on first use and kept.
        """
        if len(self.layers) == 1:
            return self.layers[0]
        name = "-".join(layer.name for layer in self.layers)
        return kept(CACHE / f"merged-{name}", self._merge_to)

    def _merge_to(self, target: Path) -> None:
        target.mkdir()
        copy_merged(self, target)

    def size(self, name: str) -> int:
        """Return how many bytes a regular file has."""
        return self.entries[name].stat().st_size

    def warm(self) -> None:
        """Read everything once, so that no side pays for the disk."""
        for layer in self.layers:
            count_bytes(["tar", "-C", layer, "-c", "."])


class Stacks:
    """Stacks by their names; each is made when it is first asked for."""

    def __init__(self, cache: Path) -> None:
        """Keep what is made below `cache`."""
        self._cache = cache
        self._made: dict[str, Stack] = {}

    def get(self, name: str) -> Stack:
        """Return the stack of a name such as `debian`, `large-256` or `crowd-100000`."""
        if name not in self._made:
            kind, _, size = name.partition("-")
            self._made[name] = self._make(kind, name, int(size or 0))
        return self._made[name]

    def tar(self) -> Path:
        """Return a tar of the Debian root, merged."""
        return _in_memory(self._kept("debian.tar", self._tar_debian))

    def package(self, files: int) -> Path:
        """Return a Debian package of that many files of 8 KiB."""
        name = f"bench-{files}.deb"
        return _in_memory(self._kept(name, lambda target: _build_package(target, files)))

    def _kept(self, name: str, make: Callable[[Path], None]) -> Path:
        return kept(self._cache / name, make)

    def _make(self, kind: str, name: str, size: int) -> Stack:
        match kind:
            case "debian":
                return self._debian()
            case "thin":
                return self._thin(name)
            case "large":
                return self._large(name, size)
            case "crowd":
                return self._layer(name, lambda target: _fill_directory(target / CROWD, size))
            case "forest":
                return self._layer(name, lambda target: _plant(target, size))
            case _:
                raise KeyError(name)

    def _debian(self) -> Stack:
        listed = run([_DEBIAN_ROOT]).decode().strip().split(":")
        return Stack(tuple(map(Path, listed)))

    def _thin(self, name: str) -> Stack:
        """The Debian root again, its files dealt out to thirty layers."""
        root = self._kept(name, self._deal_out)
        return Stack(tuple(root / f"{number:02}" for number in range(THIN_LAYERS)))

    def _large(self, name: str, mebibytes: int) -> Stack:
        """One large file above the Debian root."""
        layer = self._kept(name, lambda target: _write_large(target, mebibytes))
        return Stack((layer, *self.get("debian").layers))

    def _layer(self, name: str, make: Callable[[Path], None]) -> Stack:
        return Stack((self._kept(name, make),))

    def _deal_out(self, target: Path) -> None:
        dealt = 0
        for name, source in sorted(self.get("debian").entries.items()):
            if source.is_dir() and not source.is_symlink():
                continue
            _copy_with_parents(source, name, target / f"{dealt % THIN_LAYERS:02}")
            dealt += 1
        for name, source in self.get("debian").entries.items():
            if source.is_dir() and not source.is_symlink():
                (target / "00" / name).mkdir(parents=True, exist_ok=True)

    def _tar_debian(self, target: Path) -> None:
        run(["tar", "-C", self.get("debian").merged, "-cf", target, "."])


def kept(path: Path, make: Callable[[Path], None]) -> Path:
    """Return `path`, made by `make` where it is not there; one that is there is whole."""
    if not path.exists():
        partial = path.with_name(f"{path.name}.partial")
        run(["rm", "-rf", partial])  # left by a run that was cut short
        make(partial)
        partial.rename(path)
    return path


def _in_memory(path: Path) -> Path:
    count_bytes(["cat", path])
    return path


def copy_merged(stack: Stack, target: Path) -> None:
    """Copy what the stack shows into an empty directory."""
    for layer in reversed(stack.layers):
        run(["cp", "-a", f"{layer}/.", target])


def _copy_with_parents(source: Path, name: str, layer: Path) -> None:
    target = layer / name
    target.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "-a", source, target])


def _write_large(layer: Path, mebibytes: int) -> None:
    layer.mkdir()
    block = os.urandom(_MIB)  # nothing that a filesystem could make holes of
    with (layer / LARGE_FILE).open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)


def _fill_directory(directory: Path, entries: int) -> None:
    directory.mkdir(parents=True)
    for number in range(entries):
        (directory / f"entry-{number:06}").touch()


def _plant(layer: Path, entries: int) -> None:
    for number in range(entries // NAMES_PER_DIRECTORY):
        _fill_directory(layer / f"tree-{number:04}", NAMES_PER_DIRECTORY - 1)


def _build_package(target: Path, files: int) -> None:
    tree = target.with_suffix(".tree")
    content = tree / "usr/share/bench"
    content.mkdir(parents=True)
    for number in range(files):
        (content / f"file-{number}").write_bytes(os.urandom(8192))
    control = tree / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: bench\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n"
        "Description: files to install\n"
    )
    try:
        run(["dpkg-deb", "--root-owner-group", "--build", tree, target])
    finally:
        shutil.rmtree(tree)
