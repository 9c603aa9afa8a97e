"""The directories that one side of a comparison consists of, and the ways to mount them."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.mounts import mount, umount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tests.oracle.warm import WarmDaemons

    Mounter = Callable[["Trees"], AbstractContextManager[None]]

_REDIRECT_MAX = Path("/sys/module/overlay/parameters/redirect_max")
_ANY_LENGTH = "4096\n"  # PATH_MAX, as the kernel prints it
_BUSY_S = 10.0


@dataclass(frozen=True)
class Trees:
    base: Path
    lowers: tuple[Path, ...]  # topmost first
    commits: int = 0  # how many of the lowers were an upper once

    @property
    def upper(self) -> Path:
        return self.base / f"upper{self.commits}"

    @property
    def work(self) -> Path:
        return self.base / f"work{self.commits}"

    @property
    def root(self) -> Path:
        return self.base / "mnt"


def make_trees(base: Path, lowers: int) -> Trees:
    trees = Trees(base, tuple(base / f"lower{depth}" for depth in range(lowers)))
    _make(base, *trees.lowers, trees.upper, trees.work, trees.root)
    return trees


def commit(trees: Trees) -> Trees:
    """Make the upper the topmost layer, below a new one: what engines do with a container's."""
    committed = Trees(trees.base, (trees.upper, *trees.lowers), trees.commits + 1)
    _make(committed.upper, committed.work)
    return committed


def _make(*directories: Path) -> None:
    for directory in directories:
        directory.mkdir()
        directory.chmod(0o755)


@contextmanager
def kernel_redirects_of_any_length(note: Path) -> Iterator[None]:
    """Let kernel overlayfs write what it reads: beyond 256 bytes it otherwise answers EXDEV.

    The limit is the machine's, and several workers may want it raised: the last of them puts back
    what the first wrote into `note`.
    """
    with _REDIRECT_MAX.open("r+") as limit:
        fcntl.flock(limit, fcntl.LOCK_SH)
        if (before := limit.read()) != _ANY_LENGTH:
            note.write_text(before)
        _REDIRECT_MAX.write_text(_ANY_LENGTH)
        try:
            yield
        finally:
            with suppress(BlockingIOError):  # somebody else still needs it
                fcntl.flock(limit, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if note.exists():
                    _REDIRECT_MAX.write_text(note.read_text())


def kernel_overlay(**options: str) -> Mounter:
    """Kernel overlayfs. All features are named: their defaults come from the kernel's build."""

    @contextmanager
    def mounted(trees: Trees) -> Iterator[None]:
        fields = {
            "lowerdir": ":".join(map(str, trees.lowers)),
            "upperdir": str(trees.upper),
            "workdir": str(trees.work),
            **options,
        }
        data = ",".join(f"{key}={value}" if value else key for key, value in fields.items())
        # With index=on an upper is busy while any mount namespace still has the last mount of it:
        # another test's namespace may have been copied from ours meanwhile.
        root = os.fsencode(trees.root)
        _patiently(lambda: mount(b"overlay", root, b"overlay", 0, data.encode()))
        try:
            yield
        finally:
            unmount(trees.root)

    return mounted


@contextmanager
def kernel_overlay_of(lowers: Sequence[Path], root: Path) -> Iterator[None]:
    """Kernel overlayfs over nothing but layers, topmost first; an empty one makes one of them."""
    with tempfile.TemporaryDirectory(prefix="oracle-empty-") as empty:
        lowerdir = ":".join(map(str, (*lowers, empty)))
        data = f"lowerdir={lowerdir},redirect_dir=follow,index=off,metacopy=on,xino=auto"
        _patiently(lambda: mount(b"overlay", os.fsencode(root), b"overlay", 0, data.encode()))
        try:
            yield
        finally:
            unmount(root)


def ours(daemons: WarmDaemons, **options: object) -> Mounter:
    @contextmanager
    def mounted(trees: Trees) -> Iterator[None]:
        with daemons.mounted(trees, **options):
            try:
                yield
            finally:
                unmount(trees.root)

    return mounted


@contextmanager
def fuse_overlayfs(trees: Trees) -> Iterator[None]:
    """The C implementation: the machine must find what is known to differ there."""
    lowers = ":".join(map(str, trees.lowers))
    options = f"lowerdir={lowers},upperdir={trees.upper},workdir={trees.work},allow_other"
    subprocess.run(["fuse-overlayfs", "-o", options, str(trees.root)], check=True)
    try:
        yield
    finally:
        unmount(trees.root)


def unmount(root: Path) -> None:
    # The kernel gives back the files of a task that just ended a moment later.
    _patiently(lambda: umount(os.fsencode(root)))


def _patiently(call: Callable[[], None]) -> None:
    """Repeat a call while it answers EBUSY, until the deadline."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            return call()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
