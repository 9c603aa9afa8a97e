from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.engine import make_root_filesystem
from tests.system.mount_table import mounts_below
from tests.system.processes import attempt, processes_naming, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def overlayfs_py() -> Path:
    return Path(sys.executable).parent / "overlayfs-py"


@pytest.fixture(scope="session")
def mount_program() -> Path:
    return Path(sys.executable).parent / "fuse-overlayfs-py"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that others may enter. No mount and no process may be left at the end."""
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-cli-"))
    directory.chmod(0o755)
    yield directory
    left_mounted = mounts_below(directory)
    for mount in reversed(left_mounted):
        attempt(["umount", "--lazy", mount.target])
    assert not left_mounted
    wait_until(lambda: not processes_naming(str(directory)), "all processes to end")
    shutil.rmtree(directory)


@pytest.fixture
def root(scratch: Path) -> Path:
    """A root filesystem of busybox and little else."""
    make_root_filesystem(scratch / "root")
    for applet in ("ps", "kill", "tty", "stty", "readlink", "dd", "trap"):
        (scratch / "root/bin" / applet).symlink_to("busybox")
    return scratch / "root"


@pytest.fixture
def temporary(scratch: Path) -> Path:
    """Where temporary files go, so that a test sees what stayed."""
    directory = scratch / "tmp"
    directory.mkdir(mode=0o777)
    directory.chmod(0o1777)
    return directory
