"""podman with our program as `mount_program`: all that a container's life asks of a mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.engine import Engine

WORK = """
    set -e
    echo new > /etc/new
    echo more >> /home/data/kept
    rm -r /usr/share/doc
    mv /home /house
    chmod 600 /etc/passwd
    chown 7:8 /etc/passwd
    mkdir /tmp/sub
    ln /etc/new /tmp/sub/linked
"""

CHANGES = {
    "A /etc/new",
    "C /etc",
    "C /etc/passwd",
    "C /usr",
    "C /usr/share",
    "D /usr/share/doc",
    "D /home",
    "A /house",
    "A /house/data",
    "A /house/data/kept",
    "C /tmp",
    "A /tmp/sub",
    "A /tmp/sub/linked",
}

IN_THE_COMMIT = """
    set -e
    cat /etc/new /house/data/kept
    test ! -e /home
    test ! -e /usr/share/doc
    stat -c '%u:%g %a' /etc/passwd
    test /etc/new -ef /tmp/sub/linked
"""

CONTAINERFILE = """
FROM base
COPY file /file
RUN echo more >> /file && rm /etc/passwd
RUN mkdir /moved && mv /usr/share/doc /moved && echo back > /etc/passwd
"""

# Not `--ipc=private`: podman 4.3 leaves its /dev/shm mounted after a run in a user namespace, on
# native overlay too.
IDS = ["--ipc=none", "--uidmap=0:100000:5000", "--gidmap=0:100000:5000"]


@pytest.fixture
def image(engine: Engine, root_tar: Path) -> str:
    engine("podman", "import", root_tar, "base")
    return "base"


def assert_nothing_is_left(engine: Engine) -> None:
    """After the last image went: no mount, no layer, no daemon."""
    engine("podman", "rmi", "--all", "--force")

    assert engine("podman", "ps", "--all", "--quiet") == ""
    assert engine("podman", "images", "--all", "--quiet") == ""
    assert engine.mounts() == []
    assert engine.layers() == []


def test_a_container_runs_on_a_mount_of_our_program(
    engine: Engine, image: str, mount_program: Path
) -> None:
    table = engine("podman", "run", "--rm", image, "grep", " / ", "/proc/mounts")

    assert table.split()[2] == f"fuse.{mount_program.name}"


def test_diff_lists_exactly_what_was_changed(engine: Engine, image: str) -> None:
    engine("podman", "run", "--name", "one", image, "sh", "-c", WORK)

    assert set(engine("podman", "diff", "one").splitlines()) == CHANGES

    engine("podman", "rm", "one")
    assert_nothing_is_left(engine)


def test_a_commit_holds_the_work_and_the_base_does_not(engine: Engine, image: str) -> None:
    engine("podman", "run", "--name", "one", image, "sh", "-c", WORK)
    engine("podman", "commit", "one", "second")

    seen = engine("podman", "run", "--rm", "second", "sh", "-c", IN_THE_COMMIT)
    untouched = engine("podman", "run", "--rm", image, "cat", "/home/data/kept")

    assert seen.splitlines() == ["new", "kept", "more", "7:8 600"]
    assert untouched == "kept"
    engine("podman", "rm", "one")
    assert_nothing_is_left(engine)


def test_a_stopped_container_starts_again_with_its_files(engine: Engine, image: str) -> None:
    engine("podman", "create", "--name", "one", image, "sh", "-c", "echo run >> /log; cat /log")
    engine("podman", "start", "--attach", "one")

    assert engine("podman", "start", "--attach", "one") == "run\nrun"

    engine("podman", "rm", "one")
    assert_nothing_is_left(engine)


def test_a_build_stacks_one_layer_per_step(engine: Engine, image: str, scratch: Path) -> None:
    context = scratch / "context"
    context.mkdir()
    (context / "file").write_text("data\n")
    (context / "Containerfile").write_text(CONTAINERFILE)
    engine("podman", "build", "--layers", "--tag", "built", context)

    look = "cat /file /etc/passwd; ls /moved/doc; ls /usr/share"
    seen = engine("podman", "run", "--rm", "built", "sh", "-c", look)
    again = engine("podman", "build", "--layers", "--tag", "again", context)

    assert seen.splitlines() == ["data", "more", "back", "readme"]
    assert again.count("Using cache") == 3
    assert_nothing_is_left(engine)


def test_a_user_namespace_owns_its_root(engine: Engine, image: str) -> None:
    """With `--uidmap` podman stacks over idmapped mounts and passes `uidmapping` as well."""
    work = "set -e; touch /new; echo x >> /etc/passwd; chown 5:6 /new; stat -c '%u:%g %n' "
    names = "/new /etc /etc/passwd /home/data/kept"
    seen = engine("podman", "run", "--name", "one", *IDS, image, "sh", "-c", work + names)
    engine("podman", "commit", "one", "second")
    later = engine("podman", "run", "--rm", "second", "sh", "-c", f"stat -c '%u:%g %n' {names}")

    expected = ["5:6 /new", "0:0 /etc", "0:0 /etc/passwd", "0:0 /home/data/kept"]
    assert seen.splitlines() == expected
    assert later.splitlines() == expected
    engine("podman", "rm", "one")
    assert_nothing_is_left(engine)


def test_an_image_mounts_read_only(engine: Engine, image: str) -> None:
    target = engine("podman", "image", "mount", image)
    wait_until(lambda: bool(engine.mounts()), "the image's mount")

    listed = engine("ls", target)
    error = engine("sh", "-c", f"touch {target}/new 2>&1 || true")

    assert "bin" in listed.split()
    assert "Read-only file system" in error
    engine("podman", "image", "unmount", image)
    assert_nothing_is_left(engine)
