from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.engine import make_root_filesystem
from tests.system.mount_table import mounts_below
from tests.system.processes import attempt, processes_naming, run, wait_until
from tests.system.unprivileged import as_user, device_for_everybody
from tests.system.untouched import untouched

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.cli.chrooting import Chroot


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


@pytest.fixture(params=["root", "user"])
def chroot(
    request: pytest.FixtureRequest, overlayfs_py: Path, root: Path, temporary: Path
) -> Chroot:
    """Run `overlayfs-py chroot ROOT ...` as root, or as an ordinary user who owns the layer.

    Whatever a test does, nothing stays in the temporary directory, and the layer stays as it is.
    """
    user = request.param == "user"
    if user:
        run(["chown", "--recursive", "--no-dereference", "nobody:", root])

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [overlayfs_py, "chroot", root, *map(str, arguments)]
        environment = {"TMPDIR": str(temporary), "LEAKED": "yes"}
        with untouched((root,)), device_for_everybody():
            done = attempt(as_user(argv) if user else argv, env=environment)
        assert list(temporary.iterdir()) == []
        assert mounts_below(temporary) == []
        return done

    return call
