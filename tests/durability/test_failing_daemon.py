"""A running daemon's system call fails: the caller is told, the daemon lives, nothing is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import mounts
from tests.support.snapshot import snapshot
from tests.system.processes import processes_naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.snapshot import Snapshot

_STRIDE = 1 if "FAILING_CALLS" in os.environ else 7
_MOST = 35  # calls of an operation
_DEADLINE_S = 10.0
_READING = ("newfstatat", "fstat", "statx", "lgetxattr", "getxattr", "flistxattr", "llistxattr")
_CHANGING = (
    *("linkat", "mkdirat", "mknodat", "renameat2", "setxattr", "fsetxattr", "lsetxattr"),
    *("symlinkat", "ftruncate", "copy_file_range", "sendfile", "pwrite64", "fsync", "utimensat"),
    *("fchownat", "fchmod", "fchmodat"),
)
_FAILURES = {
    errno.EIO: ("openat", *_READING, *_CHANGING, "unlinkat"),
    errno.ENOSPC: _CHANGING,
    errno.EMFILE: ("openat", "dup"),
}


def _make_over_whiteout(slot: Path) -> None:
    (slot / "gone").mkdir()


OPERATIONS: dict[str, Callable[[Path], object]] = {
    "copy up": lambda slot: (slot / "file").chmod(0o600),
    "truncate": lambda slot: os.truncate(slot / "file", 3),
    "set an xattr": lambda slot: os.setxattr(slot / "dir/x", "user.a", b"1"),
    "rename a merged directory": lambda slot: (slot / "dir").rename(slot / "moved"),
    "rename": lambda slot: (slot / "file").rename(slot / "dir/file"),
    "unlink": lambda slot: (slot / "file").unlink(),
    "link": lambda slot: (slot / "link").hardlink_to(slot / "file"),
    "mkdir over a whiteout": _make_over_whiteout,
}


def _lay_out(slot: Path) -> None:
    (slot / "dir/deep").mkdir(parents=True)
    (slot / "gone").mkdir()
    for name in ("file", "dir/x", "dir/deep/y"):
        (slot / name).write_bytes(name.encode() * 2000)


@contextmanager
def _failing(daemon: int, number: int, when: int) -> Iterator[None]:
    """Let the n-th such call of the daemon fail while inside."""
    calls = ",".join(_FAILURES[number])
    fault = f"inject={calls}:error={errno.errorcode[number]}:when={when}"
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", fault]
    tracer = subprocess.Popen([*command, "-p", str(daemon)], stderr=subprocess.DEVNULL)
    try:
        _wait_until_traced(daemon)
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def _wait_until_traced(daemon: int) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    for status in Path(f"/proc/{daemon}/task").glob("*/status"):
        while "TracerPid:\t0\n" in status.read_text():
            assert time.monotonic() < deadline, "strace does not attach"
            time.sleep(0.001)


def _seen(slot: Path) -> Snapshot:
    return snapshot(slot, check_inodes=False)


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
@pytest.mark.parametrize("number", _FAILURES, ids=errno.errorcode.get)
def test_a_failing_call_of_a_daemon_leaves_old_or_new(
    tmp_path: Path, driver: str, number: int
) -> None:
    points = [
        (name, when)
        for place, name in enumerate(OPERATIONS)
        for when in range(1 + place % _STRIDE, _MOST, _STRIDE)
    ]
    layer = tmp_path / "layer"
    for slot in [*OPERATIONS, *map(str, range(len(points)))]:
        _lay_out(layer / slot)
    allowed: list[tuple[Snapshot, ...]] = []
    hits = 0

    with mounts.ours(tmp_path, [layer], driver=driver) as mounted:
        [daemon] = processes_naming(str(mounted.root))
        new = {}
        for name, operation in OPERATIONS.items():
            (mounted.root / name / "gone").rmdir()
            operation(mounted.root / name)
            new[name] = _seen(mounted.root / name)
        for place, (name, when) in enumerate(points):
            slot = mounted.root / str(place)
            (slot / "gone").rmdir()
            old = _seen(slot)
            failure = 0
            with _failing(daemon, number, when):
                try:
                    OPERATIONS[name](slot)
                except OSError as error:
                    failure = error.errno or -1
            assert failure in (0, number), (name, when)
            hits += bool(failure)
            allowed.append((old, new[name]) if failure else (new[name],))
            assert _seen(slot) in allowed[-1], (name, when)
    with mounts.ours(tmp_path, [layer], driver=driver) as mounted:
        for place, point in enumerate(points):
            assert _seen(mounted.root / str(place)) in allowed[place], point
    assert hits
