"""An image of the store among the layers of a mount."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from tests.support.stored import make_image
from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, processes_naming, run, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Mount = Callable[..., subprocess.CompletedProcess[str]]

LONG_NAME = "localhost:5000/team/app:1"


@pytest.fixture
def environment(scratch: Path) -> dict[str, str]:
    """One whose store has images."""
    store = Store.open(scratch / "share/overlayfs-py")
    for name in ("base:2", LONG_NAME):
        make_image(store, name, layers=[{"kept": "low", "patched": "low"}, {"kept": "kept"}])
    return {"PATH": os.defpath, "XDG_DATA_HOME": str(scratch / "share")}


@pytest.fixture
def mount(overlayfs_py: Path, scratch: Path, environment: dict[str, str]) -> Mount:
    """Mount at `merged`, in a directory that has a layer `patch`."""
    for name in ("patch", "upper", "work", "merged", "base"):
        (scratch / name).mkdir()
    (scratch / "patch/patched").write_text("patch")

    def call(options: str, *more: object) -> subprocess.CompletedProcess[str]:
        argv = [overlayfs_py, "mount", *map(str, more), "-o", options, "merged"]
        return attempt(argv, cwd=scratch, env=environment)

    return call


def _unmount(scratch: Path) -> None:
    run(["umount", scratch / "merged"])
    wait_until(lambda: not processes_naming(str(scratch / "merged")), "the daemon to end")


@pytest.mark.parametrize(
    "lower",
    ["patch:image=base:2", f"patch:image={LONG_NAME}", f"./patch:{LONG_NAME}", "patch:base:2"],
)
def test_an_image_is_a_layer(mount: Mount, scratch: Path, lower: str) -> None:
    """A path of that name comes first, as `base` has one here."""
    done = mount(f"lowerdir={lower},upperdir=upper,workdir=work")
    if lower == "patch:base:2":
        assert done.returncode != 0
        assert mounted_at(scratch / "merged") is None
        return

    assert (done.returncode, done.stderr) == (0, "")
    assert (scratch / "merged/patched").read_text() == "patch"
    assert (scratch / "merged/kept").read_text() == "kept"
    (scratch / "merged/kept").write_text("new")
    assert (scratch / "upper/kept").read_text() == "new"
    _unmount(scratch)


@pytest.mark.parametrize(("more", "flags"), [("", {"nosuid", "nodev"}), (",suid,dev", set())])
def test_what_an_image_brings_has_no_power_unless_it_is_asked_for(
    mount: Mount, scratch: Path, more: str, flags: set[str]
) -> None:
    assert mount(f"lowerdir=image=base:2{more}").returncode == 0

    mounted = mounted_at(scratch / "merged")
    assert mounted is not None
    assert mounted.options & {"nosuid", "nodev"} == flags
    _unmount(scratch)


def test_an_image_that_is_not_here_is_to_be_pulled(mount: Mount, scratch: Path) -> None:
    done = mount("lowerdir=patch:image=none:1")

    assert done.returncode == 125
    assert done.stderr == (
        'overlayfs-py: none:1: not here: pull it with "overlayfs-py pull none:1"\n'
    )
    assert mounted_at(scratch / "merged") is None


def test_an_image_in_use_stays(
    mount: Mount, overlayfs_py: Path, scratch: Path, environment: dict[str, str]
) -> None:
    """The daemon keeps its layers, and lets them go in the end."""
    layers = scratch / "share/overlayfs-py/layers"
    assert mount("lowerdir=image=base:2").returncode == 0
    for name in ("base:2", LONG_NAME):
        attempt([overlayfs_py, "rmi", "-f", name], env=environment)
    run([overlayfs_py, "store", "prune"], env=environment)
    assert os.listdir(layers)
    assert (scratch / "merged/kept").read_text() == "kept"
    _unmount(scratch)
    run([overlayfs_py, "store", "prune"], env=environment)
    assert not os.listdir(layers)


def test_mount8_takes_one(
    mount: Mount, mount_program: Path, scratch: Path, environment: dict[str, str]
) -> None:
    """As a line of fstab asks for it, of the store of whom it runs as."""
    kind, target = f"fuse.{mount_program}", scratch / "merged"
    options = f"lowerdir={scratch}/patch:image={LONG_NAME}"
    run(["/bin/mount", "-t", kind, "none", target, "-o", options], env=environment)

    assert (target / "kept").read_text() == "kept"
    _unmount(scratch)
