"""The limit of open files is counted at the mount, and never the end of the daemon."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import run

if TYPE_CHECKING:
    from pathlib import Path

_OPTIONS = "upperdir=upper,workdir=work"
_LARGE = 100_000  # bytes: its copy-up takes a thread


def _mount(
    overlayfs_py: Path, scratch: Path, driver: str, *, layers: int, limit: int
) -> subprocess.CompletedProcess[str]:
    for name in ("upper", "work", "merged"):
        (scratch / name).mkdir()
    for number in range(layers):
        directory = scratch / f"{number}/common/d{number}"
        directory.mkdir(parents=True)
        (directory / "own").write_text(f"{number}")
        (scratch / f"{number}/large{number}").write_bytes(bytes(_LARGE))
    lower = ":".join(map(str, range(layers)))
    return subprocess.run(
        [
            *("prlimit", f"--nofile={limit}:{limit}", overlayfs_py, "mount", "--driver", driver),
            *("-o", f"{_OPTIONS},lowerdir={lower}", scratch / "merged"),
        ],
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_few_descriptors_are_enough(overlayfs_py: Path, scratch: Path, driver: str) -> None:
    """Every cache is full, and as many copy-ups and fsyncs wait as there are files."""
    done = _mount(overlayfs_py, scratch, driver, layers=50, limit=160)
    assert done.returncode == 0, done.stderr
    merged = scratch / "merged"

    def change(number: int) -> int:
        fd = os.open(merged / f"large{number}", os.O_RDWR)
        try:
            os.pwrite(fd, b"x", 1)
            os.fsync(fd)
        finally:
            os.close(fd)
        return (merged / f"large{number}").stat().st_size

    try:
        read = [(merged / f"common/d{number}/own").read_text() for number in range(50)]
        with ThreadPoolExecutor(50) as threads:
            sizes = set(threads.map(change, range(50)))
        names = len(os.listdir(merged / "common"))
    finally:
        run([overlayfs_py, "umount", merged])

    assert read == [str(number) for number in range(50)]
    assert sizes == {_LARGE}
    assert names == 50


def test_more_layers_than_descriptors_are_refused(overlayfs_py: Path, scratch: Path) -> None:
    done = _mount(overlayfs_py, scratch, "direct", layers=100, limit=128)

    assert done.returncode == 1
    assert "100 layers and volumes take" in done.stderr
    assert "the limit is 128" in done.stderr
    assert len(done.stderr.splitlines()) == 1
