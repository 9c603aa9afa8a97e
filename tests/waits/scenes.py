"""What one process does that takes long, and what it does it to."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.waits import hostile_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_LINKS_OF_ONE = 30_000  # no filesystem allows many more
_XATTRS = 600  # of 100 bytes: what listxattr(2) can return at most
_MANY_LAYERS = 200


class Stage(NamedTuple):
    """The directories of one mount, and how large things are to be made."""

    base: Path  # in memory, but for what is said to be on a disk
    disk: Path
    names: int
    copy_bytes: int
    leaving: ExitStack  # what is to be done at the end

    def layers(self, count: int = 2) -> list[Path]:
        """Make layers, topmost first."""
        made = [self.base / f"layer{number}" for number in range(count)]
        for layer in made:
            layer.mkdir()
        return made


@dataclass(frozen=True)
class Scene:
    """A mount, and commands for it, each measured by itself."""

    lowers: list[Path]
    commands: Mapping[str, tuple[str, ...]]  # what is said of it: what runs in the mount's root
    options: tuple[str, ...] = ()
    upper: Path | None = None
    packed: bool = False
    complains: bool = False  # of damage
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext  # while a command runs


def listing(stage: Stage) -> Scene:
    """A directory of two layers, each with half of the names."""
    lowers = stage.layers()
    _fill(stage, lowers, "d")
    commands = {
        "list the names": ("find", "d", "-maxdepth", "0", "-empty"),
        "ls": ("ls", "-U", "d"),
        "ls -l": ("ls", "-Ul", "d"),
        "ls -l, again": ("ls", "-Ul", "d"),
        "chown -R": ("chown", "-R", "1:1", "d"),
        "rename it": ("mv", "d", "e"),
        "rm -r": ("rm", "-r", "e"),
    }
    return Scene(lowers, commands)


def removal(stage: Stage) -> Scene:
    """The same, removed."""
    lowers = stage.layers()
    _fill(stage, lowers, "d")
    return Scene(lowers, {"rm -r": ("rm", "-r", "d")})


def packed_listing(stage: Stage) -> Scene:
    """The same, of two packs."""
    lowers = stage.layers()
    _fill(stage, lowers, "d")
    commands = {
        "first lookup": ("stat", "d/1"),
        "ls": ("ls", "-U", "d"),
        "ls -l": ("ls", "-Ul", "d"),
        "rm -r": ("rm", "-r", "d"),
    }
    return Scene(lowers, commands, packed=True)


def links(stage: Stage) -> Scene:
    """Files of many names."""
    lowers = stage.layers(1)
    (lowers[0] / "f").mkdir()
    (lowers[0] / "f/0").write_bytes(b"0")
    for number in range(1, _LINKS_OF_ONE * 2):
        os.link(lowers[0] / "f/0", lowers[0] / f"f/{number}")
    commands = {
        "ls -l of 60,000 names of a file": ("ls", "-Ul", "f"),
        "chmod of that file": ("chmod", "600", "f/7"),
        "rm of its names": ("rm", "-r", "f"),
    }
    return Scene(lowers, commands)


def whiteouts(stage: Stage) -> Scene:
    """A directory of the upper that holds nothing but whiteouts."""
    lowers = stage.layers(1)
    upper = stage.base / "upper"
    os.mknod(_directory(upper / "d") / "0", stat.S_IFCHR)
    for number in range(1, stage.names):
        os.link(upper / "d/0", upper / f"d/{number}")
    for number in range(stage.names):
        os.link(upper / "d/0", _directory(upper / "e") / f"{number}")
    for name in ("d/in", "e/in"):
        _directory(lowers[0] / name).rmdir()
    commands = {
        "ls of whiteouts": ("ls", "-U", "d"),
        "rename over whiteouts": ("mv", "-T", "e", "d"),
        "rmdir of whiteouts": ("rmdir", "d"),
    }
    return Scene(lowers, commands, upper=upper)


def large_file(stage: Stage) -> Scene:
    """A large file of a disk, copied up."""
    layer = _directory(stage.disk / "layer")
    piece = os.urandom(1 << 20)
    with (layer / "large").open("wb") as file:
        for _ in range(stage.copy_bytes >> 20):
            file.write(piece)
    commands = {"copy-up": ("chmod", "600", "large")}
    return Scene([layer], commands, upper=_directory(stage.disk / "upper"))


def xattrs(stage: Stage) -> Scene:
    """Files with all the attributes that they can have."""
    lowers = stage.layers(1)
    for number in range(100):
        file = lowers[0] / f"{number}"
        file.touch()
        for attribute in range(_XATTRS):
            os.setxattr(file, f"trusted.{attribute:090}", b"x" * 100)
    commands = {
        "getfattr of 100 files with 600 each": ("getfattr", "-d", "-m", "-", "-R", "."),
        "copy-up of them": ("chmod", "600", *(f"{number}" for number in range(100))),
    }
    return Scene(lowers, commands)


def stopped_volume(stage: Stage) -> Scene:
    """A volume whose filesystem does not answer: its daemon is stopped."""
    far = stage.disk / "far"
    for name in ("layer/d", "upper", "work", "merged"):
        _directory(far / name)
    options = f"lowerdir={far}/layer,upperdir={far}/upper,workdir={far}/work"
    daemon = subprocess.Popen(
        ["fuse-overlayfs", "-f", "-o", options, far / "merged"], stderr=subprocess.DEVNULL
    )
    stage.leaving.callback(daemon.wait)
    stage.leaving.callback(subprocess.run, ["umount", far / "merged"], check=True)
    while not os.path.ismount(far / "merged"):
        assert daemon.poll() is None

    @contextmanager
    def stopped() -> Iterator[None]:
        daemon.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            daemon.send_signal(signal.SIGCONT)

    ask = "for i in 1 2 3 4 5 6 7 8; do timeout -s KILL 2 stat volume/$i & done; wait"
    return Scene(
        stage.layers(1),
        {"8 processes in a stopped volume": ("sh", "-c", f"({ask}) 2> /dev/null")},
        options=(f"volume={far}/merged:/volume",),
        meanwhile=stopped,
    )


def many_layers(stage: Stage) -> Scene:
    """Directories that all layers merge."""
    lowers = stage.layers(_MANY_LAYERS)
    for layer in lowers:
        for number in range(100):
            _directory(layer / f"d{number}" / layer.name)
    return Scene(lowers, {f"find in {_MANY_LAYERS} layers": ("find", ".", "-newer", "/")})


def hostile_files(stage: Stage) -> Scene:
    """A pack of files that are bad by themselves, however few they are."""
    (top,) = stage.layers(1)
    hostile_packs.write_files(stage.base / "pack", stage.names * 4, stage.copy_bytes >> 16)
    seek = "import os; file = os.open('dense', 0); print(os.lseek(file, 0, os.SEEK_HOLE))"
    commands = {
        "ls -l": _anyway("ls", "-Ul"),
        "stat of a file in pieces": ("stat", "sparse"),
        "a hole is looked for": (sys.executable, "-c", seek),
        "cat of files in pieces": ("cat", "sparse", "dense", "small"),
        "cat of many chunks": ("cat", "chunked"),
        "copy-up of a small file in pieces": ("chmod", "600", "small"),
        "copy-up of a file in pieces": ("chmod", "600", "sparse"),
        "cp of a file in pieces": ("cp", "dense", "copy"),
        "getfattr": _anyway("getfattr", "-d", "-m", "-", "xattrs"),
        "copy-up with xattrs": _anyway("chmod", "600", "xattrs"),
        "readlink": _anyway("readlink", "link"),
    }
    return Scene([top, stage.base / "pack"], commands, complains=True)


def hostile_names(stage: Stage) -> Scene:
    """A pack with the deepest, the longest and the most names."""
    (top,) = stage.layers(1)
    depth = stage.names // 15
    hostile_packs.write_names(stage.base / "pack", depth, stage.names)
    descend = f"import os\nfor _ in range({depth}): os.chdir('d')\n"
    commands = {
        "ls -l of names of 255 bytes": ("ls", "-Ul", "long"),
        "ls -l of names of a file": ("ls", "-Ul", "links"),
        "chmod of that file": ("chmod", "600", "links/7"),
        "rm of its names": ("rm", "-r", "links"),
        f"cd {depth} times": (sys.executable, "-c", descend),
        "copy-up of them": (sys.executable, "-c", descend + "os.chmod('file', 0o600)"),
        "rm -r of them": ("rm", "-r", "d"),
    }
    return Scene([top, stage.base / "pack"], commands)


SCENES: Mapping[str, Callable[[Stage], Scene]] = {
    found.__name__: found
    for found in (
        listing,
        removal,
        packed_listing,
        links,
        whiteouts,
        large_file,
        xattrs,
        stopped_volume,
        many_layers,
        hostile_files,
        hostile_names,
    )
}


def _anyway(*command: str) -> tuple[str, ...]:
    """A command that may be refused."""
    return ("sh", "-c", '"$@" 2> /dev/null; true', "sh", *command)


def _fill(stage: Stage, lowers: list[Path], name: str) -> None:
    """Deal names out to layers."""
    for layer in lowers:
        (layer / name).mkdir()
    for number in range(stage.names):
        os.mknod(lowers[number % len(lowers)] / name / f"{number}", stat.S_IFREG | 0o644)


def _directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
