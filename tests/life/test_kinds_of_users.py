"""One container's life as a user with subordinate ids, and as root of a user namespace.

`engine` is root, and a user without any.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.mount_table import mounts_below
from tests.system.processes import processes_naming, run, wait_until
from tests.system.unprivileged import (
    ROOT_AND_SUBORDINATES,
    USER,
    as_user,
    device_for_everybody,
    in_user_namespace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIFE = """
set -e
cd HERE; export PATH=BIN:$PATH HOME=HERE XDG_DATA_HOME=HERE/data TMPDIR=HERE/tmp
o=overlayfs-py
$o import small.tar small:1 > /dev/null
$o run --rm -v data:/data small:1 sh -c 'echo kept > /data/file; echo gone > /etc/mine'
$o run -d --name one -v data:/data small:1 sh -c 'while :; do sleep 0.05; done' > /dev/null
$o exec one sh -c 'cat /data/file; ls /etc/mine 2>/dev/null || echo none'
$o exec one sh -c 'echo 1 > /f; chown 33:33 /f'
$o exec -u web one id -un
$o snapshot one first
$o exec one rm /f
$o restore one first
$o exec one stat -c '%u %g' /f
$o commit one second:1 > /dev/null
$o reset one
$o rm -f one
$o run --rm second:1 stat -c '%u %g' /f
$o ps -aq
$o volume prune -af > /dev/null
$o store fsck
"""
_SAID = ["kept", "none", "web", "first", "one", "33 33", "one", "one", "33 33", "nothing is wrong"]


@pytest.fixture
def here(small_root: Path) -> Iterator[Path]:
    """A directory of the user's, with the image; in the end nothing runs or is mounted there."""
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-users-"))
    directory.chmod(0o755)
    (directory / "tmp").mkdir()
    run(["tar", "-C", small_root, "-cf", directory / "small.tar", "."])
    run(["chown", "--recursive", f"{USER}:{USER}", directory])
    with device_for_everybody():
        yield directory
    wait_until(lambda: not processes_naming(str(directory)), "the processes of all containers")
    assert mounts_below(directory) == []
    shutil.rmtree(directory)


def _life(here: Path) -> str:
    bin_directory = str(Path(sys.executable).parent)
    return _LIFE.replace("HERE", str(here)).replace("BIN", bin_directory)


def test_a_user_with_subordinate_ids(here: Path) -> None:
    (here / "ids").write_text("nobody:200000:65536\n")
    bind = "; ".join(f"mount --bind {here}/ids /etc/{name}" for name in ("subuid", "subgid"))
    argv = ["unshare", "--mount", "sh", "-ec", f'{bind}; exec "$@"', "sh"]

    said = run([*argv, *as_user(["sh", "-c", _life(here)])], timeout=120)

    assert said.splitlines() == _SAID


def test_root_of_a_user_namespace(here: Path) -> None:
    said = in_user_namespace(["sh", "-c", _life(here)], ROOT_AND_SUBORDINATES, timeout=120)

    assert said.splitlines() == _SAID
