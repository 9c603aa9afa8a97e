from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.engine import Engine, make_root_filesystem, mount_namespace
from tests.system.mount_table import mounts_below
from tests.system.processes import attempt, processes_naming, run

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN_ROOT = Path(__file__).parents[2] / "scripts/debian-root"


@pytest.fixture(scope="session")
def mount_program() -> Path:
    """The installed mount program, or another one to check these tests themselves against.

    `MOUNT_PROGRAM=/usr/bin/fuse-overlayfs pytest tests/system/test_podman.py` shows what the
    engines' recipe does with the C program.
    """
    return Path(os.environ.get("MOUNT_PROGRAM", Path(sys.executable).parent / "fuse-overlayfs-py"))


@pytest.fixture(scope="session")
def overlayfs_py() -> Path:
    return Path(sys.executable).parent / "overlayfs-py"


@pytest.fixture(scope="session")
def debian() -> tuple[Path, ...]:
    """The layers of a minimal Debian, made by the first run and kept for the next."""
    printed = run([DEBIAN_ROOT], timeout=900).strip()
    return tuple(map(Path, printed.split(":")))


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that others may enter, on a filesystem that can be an upper.

    A test that leaves a mount or a daemon behind has failed, whatever else it showed. A daemon
    whose mount lies in another mount namespace keeps that alive: only a signal ends it.
    """
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-system-"))
    directory.chmod(0o755)
    yield directory
    left_mounted = mounts_below(directory)
    for mount in reversed(left_mounted):
        attempt(["umount", "--lazy", mount.target])
    left_running = never_ended(directory)
    shutil.rmtree(directory)
    assert not left_mounted
    assert not left_running


def never_ended(directory: Path) -> list[list[str]]:
    """Give the processes that name `directory` a moment to end; kill and list the others."""
    deadline = time.monotonic() + 5
    while (left := processes_naming(str(directory))) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return list(left.values())


@pytest.fixture(scope="session")
def namespace() -> Iterator[int]:
    yield from mount_namespace()


@pytest.fixture
def engine(scratch: Path, namespace: int, mount_program: Path) -> Engine:
    return Engine.set_up(scratch / "engine", namespace, mount_program)


@pytest.fixture
def root_tar(scratch: Path) -> Path:
    """A root filesystem as `docker export` or debootstrap would give it."""
    make_root_filesystem(scratch / "root")
    tar = scratch / "root.tar"
    run(["tar", "--create", "--file", tar, "--directory", scratch / "root", "."])
    return tar
