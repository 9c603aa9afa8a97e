"""A stack of layers, mounted in one of several ways for as long as a `with` block runs.

Plain context managers, so that a test and a hypothesis state machine use them alike. `base` is a
directory that belongs to the mount: the mount point is `base/merged`, and upper and workdir are
made in it unless the caller brings them (from an earlier mount, to mount them again).
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NamedTuple

from overlayfs_py.syscalls.mounts import MNT_DETACH, umount
from tests.support.lowers import as_served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DEADLINE_S = 20.0
_POLL_S = 0.005
_CHECKOUT = Path(__file__).parents[2]

# All named: their defaults come from the kernel's build and change EXDEV, hard links, st_ino.
KERNEL_DEFAULTS: Mapping[str, str] = MappingProxyType(
    {"redirect_dir": "on", "index": "on", "xino": "off", "metacopy": "off"}
)
_NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mounted:
    """What is mounted where."""

    root: Path  # the tree that a user sees
    lowers: list[Path]  # topmost first
    upper: Path | None = None
    work: Path | None = None

    @property
    def directories(self) -> dict[str, str]:
        """The mount options that name the layers; relative to `base`, to be short."""
        found = {"lowerdir": ":".join(map(self._spell, self.lowers))}
        if self.upper is not None and self.work is not None:
            found |= {"upperdir": self._spell(self.upper), "workdir": self._spell(self.work)}
        return found

    def _spell(self, path: Path) -> str:
        # mount(2) takes one page of options: 500 absolute paths do not fit in it.
        spelled = os.path.relpath(path, self.root.parent)
        for special in "\\:,":
            spelled = spelled.replace(special, "\\" + special)
        return spelled


class _Daemon(NamedTuple):
    process: subprocess.Popen[bytes]
    words: IO[bytes]  # all that it writes


@contextmanager
def plain(base: Path) -> Iterator[Mounted]:
    """No mount: a directory of the host."""
    root = base / "merged"
    root.mkdir(exist_ok=True)
    yield Mounted(root, [])


@contextmanager
def kernel_overlay(
    base: Path,
    lowers: Sequence[Path],
    *,
    upper: bool | Path = True,
    work: Path | None = None,
    options: Mapping[str, str] = _NOTHING_MORE,
) -> Iterator[Mounted]:
    """Kernel overlayfs; `options` go over `KERNEL_DEFAULTS`: `{"index": "off", "ro": ""}`."""
    mounted = _prepare(base, lowers, upper, work)
    text = _join(mounted.directories | KERNEL_DEFAULTS | options)
    command = ["mount", "-t", "overlay", "overlay", "-o", text, mounted.root]
    done = subprocess.run(command, cwd=base, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    with _unmounting(mounted.root):
        yield mounted


@contextmanager
def ours(
    base: Path,
    lowers: Sequence[Path],
    *,
    driver: str = "pyfuse3",
    upper: bool | Path = True,
    work: Path | None = None,
    options: Sequence[str] = (),
    complains: bool = False,
) -> Iterator[Mounted]:
    """Our mount. Its process must end by itself with status 0, and say nothing unless it may."""
    mounted = _prepare(base, lowers, upper, work)
    served = replace(mounted, lowers=[as_served(lower) for lower in mounted.lowers])
    text = ",".join([_join(served.directories), *options])
    # Warnings that Python hides by default, of a file left open for instance, count as words.
    python = [sys.executable, "-W", "default"]
    mount = ["-m", "overlayfs_py", "mount", "-f", "-o", text, "--driver", driver]
    with _served([*python, *mount, os.fspath(mounted.root)], mounted, complete=not complains):
        yield mounted


@contextmanager
def fuse_overlayfs(
    base: Path,
    lowers: Sequence[Path],
    *,
    upper: bool | Path = True,
    work: Path | None = None,
    options: Sequence[str] = (),
) -> Iterator[Mounted]:
    """The C implementation, for comparison: whatever it says on its way is its own matter."""
    mounted = _prepare(base, lowers, upper, work)
    text = ",".join([_join(mounted.directories), *options])
    command = ["fuse-overlayfs", "-f", "-o", text, os.fspath(mounted.root)]
    with _served(command, mounted, complete=False):
        yield mounted


def _join(options: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" if value else name for name, value in options.items())


def _prepare(base: Path, lowers: Sequence[Path], upper: bool | Path, work: Path | None) -> Mounted:
    root = base / "merged"
    root.mkdir(exist_ok=True)
    if upper is False:
        return Mounted(root, list(lowers))
    writable = upper if isinstance(upper, Path) else base / "upper"
    staging = work or base / "work"
    for directory in (writable, staging):
        directory.mkdir(exist_ok=True)
    return Mounted(root, list(lowers), writable, staging)


@contextmanager
def _served(command: Sequence[str], mounted: Mounted, *, complete: bool) -> Iterator[None]:
    """Run `command` while inside; `complete` demands that it is silent."""
    with tempfile.TemporaryFile() as words:
        # PYTHONPATH because the working directory is not the checkout.
        environment = {**os.environ, "PYTHONPATH": os.fspath(_CHECKOUT)}
        process = subprocess.Popen(
            command,
            cwd=mounted.root.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
        )
        daemon = _Daemon(process, words)
        try:
            _wait_until_served(daemon, mounted.root)
            yield
        except BaseException as error:
            # A daemon that died makes every call after it fail: what it said is the cause.
            _note(error, _end(daemon, mounted.root) + _read(words))
            raise
        complaint = _end(daemon, mounted.root) + (_read(words) if complete else "")
        assert not complaint, complaint


def _wait_until_served(daemon: _Daemon, root: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not is_mounted(root):
        assert daemon.process.poll() is None, "the daemon ended before its mount answered"
        assert time.monotonic() < deadline, "the mount does not answer"
        time.sleep(_POLL_S)


def is_mounted(root: Path) -> bool:
    """Say whether another filesystem begins at `root` and answers."""
    return root.stat().st_dev != root.parent.stat().st_dev


def _end(daemon: _Daemon, root: Path) -> str:
    """Unmount and wait; return what went wrong in that, or nothing."""
    complaint = ""
    if daemon.process.poll() is None or _is_listed(root):
        complaint = _unmount(root)
    if _namespaces_with(root):
        # A container that somebody started meanwhile has a copy of the mount, which lives on.
        daemon.process.terminate()
    try:
        status = daemon.process.wait(_DEADLINE_S)
    except subprocess.TimeoutExpired:
        daemon.process.kill()
        daemon.process.wait()
        return complaint + f"{daemon.process.args} outlives its mount\n"
    return complaint + (f"the daemon ended with status {status}\n" if status else "")


def _namespaces_with(root: Path) -> set[str]:
    """The mount namespaces, of all processes and of our threads, that have a mount at `root`.

    Of our threads since the one that pytest's faulthandler starts for each test is where the test
    is, in a module whose mounts are its own, until after the test: at the end of a session that is
    after all mounts.
    """
    found = set()
    for process in (*Path("/proc").glob("[0-9]*"), *Path("/proc/self/task").iterdir()):
        try:
            if f" {root} " in (process / "mountinfo").read_text(errors="surrogateescape"):
                found.add(os.readlink(process / "ns/mnt"))
        except OSError as error:
            # It ended, or is about to.
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
                raise
    return found


def _read(words: IO[bytes]) -> str:
    words.seek(0)
    return words.read().decode(errors="replace")


def _note(error: BaseException, words: str) -> None:
    if words:
        error.add_note(words)


@contextmanager
def _unmounting(root: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _note(error, _unmount(root))
        raise
    complaint = _unmount(root)
    assert not complaint, complaint


def _unmount(root: Path) -> str:
    """Unmount for certain; return a complaint if that took force."""
    deadline = time.monotonic() + _DEADLINE_S
    while _is_listed(root):
        try:
            umount(os.fsencode(root))
        except OSError as error:
            # The kernel gives back the files of a process that just ended a moment later.
            if error.errno != errno.EBUSY:
                return f"cannot unmount: {error}\n"
            if time.monotonic() > deadline:
                umount(os.fsencode(root), MNT_DETACH)
                return f"{root} is still in use\n"
            time.sleep(_POLL_S)
    return ""


def _is_listed(root: Path) -> bool:
    """Say whether the mount exists, be its daemon alive or not."""
    # The parent, because a mount point whose daemon is dead cannot be looked at. Of the characters
    # that proc(5) escapes, only a space is to be expected in the path of a test.
    name = os.fsencode(root.parent.resolve() / root.name).replace(b" ", b"\\040")
    lines = Path("/proc/self/mounts").read_bytes().splitlines()
    return any(line.split(b" ")[1] == name for line in lines)
