"""Cgroups of version 2, made by root and by a user to whom a part of them is delegated.

On a machine with both versions few controllers are of version 2: any one will do here, so the
limits are another's than those that containers have.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import run
from tests.system.unprivileged import USER, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAKE = """
import json, os, sys
from pathlib import Path
from overlayfs_py.containers import cgroup
from overlayfs_py.containers.cgroup_limits import Limits, Setting

controller, file, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])

class Other(Limits):
    options = {controller: "--other"}

    def settings(self, *, unified):
        assert unified
        yield Setting(controller, file, "0")
        yield Setting(controller, "memory.nosuch", "0", is_optional=True)

made = cgroup.make(directory, "ident", Other())
pid = os.fork()
if not pid:
    cgroup.enter(made)
    own = Path("/proc/self/cgroup").read_text().splitlines()[-1]
    print(json.dumps([str(made[0]), own, (made[0] / file).read_text()]), flush=True)
    os.execvp("sleep", ["sleep", "1000"])
while "sleep" not in Path(f"/proc/{pid}/comm").read_text():
    pass
cgroup.remove(directory)
os.waitpid(pid, 0)
print(json.dumps([made[0].exists(), made[0].parent.exists(), os.listdir(directory)]))
"""
_FILES = {"pids": "pids.max", "hugetlb": "hugetlb.2MB.max", "memory": "memory.high"}
_ROOT = "/sys/fs/cgroup"
_ALONE = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A part of the tree that is the ordinary user's; where version 2 is mounted here."""
    both = Path(_ROOT, "unified")
    root = both if both.exists() else Path(_ROOT)
    part = root / "overlayfs-test"
    (part / "app").mkdir(parents=True)
    run(["chown", "--recursive", str(USER), part])
    before = (root / "cgroup.subtree_control").read_text().split()
    yield part
    (part / "app").rmdir()
    part.rmdir()
    for name in set((root / "cgroup.subtree_control").read_text().split()) - set(before):
        (root / "cgroup.subtree_control").write_text(f"-{name}")


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that users may enter; pytest closes those above its own."""
    with tempfile.TemporaryDirectory(prefix="overlayfs-cgroup-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.alone
@pytest.mark.parametrize("is_user", [False, True])
def test_version_2(open_path: Path, delegated: Path, is_user: bool) -> None:
    known = (delegated.parent / "cgroup.controllers").read_text().split()
    controller = next(name for name in _FILES if name in known)
    steps = f"mount -t cgroup2 none {_ROOT}; echo +{controller} >{_ROOT}/cgroup.subtree_control;"
    make = [sys.executable, "-c", _MAKE, controller, _FILES[controller], str(open_path)]
    if is_user:
        os.chown(open_path, USER, USER)
        make = as_user(make)
        steps += f"echo $$ >{_ROOT}/overlayfs-test/app/cgroup.procs;"

    made, left = run([*_ALONE, f'{steps} exec "$@"', "sh", *make]).splitlines()

    parent = "/overlayfs-test" if is_user else ""
    assert json.loads(made) == [
        f"{_ROOT}{parent}/overlayfs-py/ident",
        f"0::{parent}/overlayfs-py/ident",
        "0\n",
    ]
    assert json.loads(left) == [False, False, []]
