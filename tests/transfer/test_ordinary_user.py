"""Who is nobody, without subordinate ids, has all of it: pull, look, run, mount, push."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.oci_layout import write_layout
from tests.system.engine import make_root_filesystem
from tests.system.processes import run
from tests.system.unprivileged import USER, as_user, device_for_everybody
from tests.transfer.registries import PROGRAM
from tests.transfer.test_layer_forms import users_home
from tests.transfer.test_pull import BASE, push
from tests.transfer.test_push import raw_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.docker_registry import DockerRegistry
    from tests.system.processes import Word

__all__ = ["users_home"]


class User:
    """An ordinary user's commands."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: Word) -> str:
        environment = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "TMPDIR": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
        }
        return run(as_user([PROGRAM, *words]), env=environment)


@pytest.fixture
def user(users_home: Path) -> Iterator[User]:
    with device_for_everybody():
        yield User(users_home)


def test_an_image_is_pulled_and_pushed_under_the_same_digest(
    user: User, registry: DockerRegistry, tmp_path: Path
) -> None:
    pushed = write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "user/app:1")
    target = f"{registry.domain}/user/other:1"

    assert f"Digest: {pushed}" in user("pull", "--tls-verify=false", name)
    user("push", "--tls-verify=false", name, target)

    assert raw_manifest(target) == raw_manifest(name)
    assert user("store", "fsck", "--deep") == "nothing is wrong\n"
    assert {path.stat().st_uid for path in user.home.rglob("*")} == {USER}


def test_an_image_is_run_and_mounted(user: User, tmp_path: Path) -> None:
    make_root_filesystem(tmp_path / "root")
    (tmp_path / "root/secret").write_text("root's\n")
    tar = tmp_path / "root.tar"
    run(["tar", "-C", tmp_path / "root", "--numeric-owner", "-cf", tar, "."])
    user("import", tar, "small:1")
    mount_point = user.home / "mnt"
    mount_point.mkdir()
    os.chown(mount_point, USER, USER)

    assert user("chroot", "small:1", "--", "sh", "-c", "id -u; cat /secret") == "0\nroot's\n"
    user("image", "mount", "small:1", mount_point)
    seen = run(as_user(["stat", "-c", "%u", mount_point / "secret"]))
    user("image", "umount", mount_point)

    assert seen == "0\n"


@pytest.fixture
def roots_short_names() -> Iterator[None]:
    """What podman keeps for the machine's root, which nobody else can read."""
    path = Path("/var/cache/containers/short-name-aliases.conf")
    was_there = path.exists()
    if not was_there:
        path.parent.mkdir(exist_ok=True)
        path.write_text("[aliases]\n")
        path.chmod(0o600)
    yield
    if not was_there:
        path.unlink()


@pytest.mark.usefixtures("roots_short_names")
def test_root_of_a_user_namespace_pulls(
    user: User, registry: DockerRegistry, tmp_path: Path
) -> None:
    pushed = write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "user/root:1")
    environment = {"HOME": str(user.home), "PATH": "/usr/bin:/bin"}

    words = ["unshare", "--user", "--map-root-user", PROGRAM, "pull", "--tls-verify=false", name]

    assert f"Digest: {pushed}" in run(as_user(words), env=environment)
