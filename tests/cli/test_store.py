"""The commands that work on a whole store, and those that mount an image of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.oci_layout import write_layout
from tests.system.processes import attempt, run, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Overlay = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def overlay(overlayfs_py: Path, scratch: Path) -> Overlay:
    """Our command, with a store of its own and a place for temporary files."""
    environment = os.environ | {"XDG_DATA_HOME": str(scratch / "data"), "TMPDIR": str(scratch)}
    return lambda *words: attempt([overlayfs_py, *words], env=environment)


@pytest.fixture
def image(overlay: Overlay, root: Path) -> str:
    """An image of a root filesystem of busybox."""
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/motd").write_text("hello\n")
    changes = ("CMD cat motd", "ENV GREETING=hello", "WORKDIR /etc")
    words = [word for change in changes for word in ("-c", change)]
    done = overlay("import", *words, root, "busybox:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sha256:")
    return "busybox:1"


@pytest.fixture
def mount_point(scratch: Path) -> Path:
    place = scratch / "mnt"
    place.mkdir()
    return place


def _store(scratch: Path) -> Path:
    return scratch / "data/overlayfs-py"


def test_an_image_is_mounted_read_only(overlay: Overlay, image: str, mount_point: Path) -> None:
    assert overlay("image", "mount", image, mount_point).stderr == ""

    assert (mount_point / "etc/motd").read_text() == "hello\n"
    with pytest.raises(OSError, match="Read-only file system"):
        (mount_point / "new").touch()
    assert overlay("image", "umount", mount_point).stderr == ""
    assert list(mount_point.iterdir()) == []


def test_a_writable_mount_is_thrown_away(
    overlay: Overlay, image: str, mount_point: Path, scratch: Path
) -> None:
    before = set(scratch.iterdir())
    assert overlay("image", "mount", "--rw", image, mount_point).stderr == ""
    (mount_point / "etc/motd").write_text("changed\n")
    (mount_point / "new").touch()
    assert overlay("image", "umount", mount_point).stderr == ""

    wait_until(lambda: set(scratch.iterdir()) == before, "the upper to be removed")
    assert overlay("image", "cat", image, "/etc/motd").stdout == "hello\n"


def test_an_image_without_layers_is_mounted_and_run(
    overlay: Overlay, mount_point: Path, scratch: Path
) -> None:
    write_layout(scratch / "layout", [])
    assert overlay("load", "-i", scratch / "layout").returncode == 0
    image = overlay("images", "-aq").stdout.strip()

    assert overlay("image", "mount", image, mount_point).stderr == ""
    assert list(mount_point.iterdir()) == []
    assert overlay("image", "umount", mount_point).stderr == ""
    assert overlay("image", "mount", "--rw", image, mount_point).stderr == ""
    (mount_point / "new").touch()
    assert overlay("image", "umount", mount_point).stderr == ""
    done = overlay("chroot", image, "--", "/bin/true")
    assert done.returncode == 127
    assert done.stderr.count("\n") == 1


def test_a_mounted_image_cannot_be_removed(
    overlay: Overlay, image: str, mount_point: Path, scratch: Path
) -> None:
    assert overlay("image", "mount", image, mount_point).returncode == 0

    refused = overlay("rmi", image)
    assert refused.returncode == 35
    assert refused.stderr.startswith("overlayfs-py: busybox:1: the image is mounted")
    assert overlay("rmi", "--force", image).returncode == 0
    assert (mount_point / "etc/motd").read_text() == "hello\n"

    assert overlay("image", "umount", mount_point).returncode == 0
    wait_until(
        lambda: (
            overlay("store", "prune").returncode == 0
            and not any((_store(scratch) / "layers").iterdir())
        ),
        "the layer to go",
    )


def test_devices_and_set_ids_of_an_image_have_no_effect(
    overlay: Overlay, image: str, mount_point: Path
) -> None:
    assert overlay("image", "mount", image, mount_point).returncode == 0

    options = run(["findmnt", "-no", "OPTIONS", mount_point])

    assert {"nosuid", "nodev", "ro"} <= set(options.strip().split(","))
    overlay("image", "umount", mount_point)


def test_an_image_is_run_as_it_says(overlay: Overlay, image: str) -> None:
    done = overlay("chroot", image)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")

    script = 'pwd; echo "$GREETING"; echo "$MORE"; touch /new; ls -d /new'
    done = overlay("chroot", image, "-e", "MORE=less", "--", "sh", "-c", script)
    assert done.stdout == "/etc\nhello\nless\n/new\n"
    assert overlay("image", "files", image).stdout.count("/new") == 0


def test_what_is_neither_layer_nor_image_is_told(overlay: Overlay) -> None:
    done = overlay("chroot", "nothing:1", "true")

    assert done.returncode == 125
    assert done.stderr == (
        'overlayfs-py: nothing:1: not here: pull it with "overlayfs-py pull nothing:1"\n'
    )


def test_what_is_saved_is_loaded(overlay: Overlay, image: str, scratch: Path) -> None:
    before = overlay("images", "-q", "--no-trunc").stdout
    assert overlay("save", "-o", scratch / "a.tar", image).stderr == ""
    overlay("rmi", image)

    done = overlay("load", "-i", scratch / "a.tar")

    assert (done.stdout, done.stderr) == ("Loaded image: busybox:1\n", "")
    assert overlay("images", "-q", "--no-trunc").stdout == before


def test_an_archive_that_cannot_be_written_is_told_and_not_left(
    overlay: Overlay, image: str, scratch: Path
) -> None:
    done = overlay("save", "-o", scratch / "none/a.tar", image)

    assert done.returncode == 1
    assert done.stderr.endswith("No such file or directory\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["df", "fsck", "prune"])
def test_help_has_examples(overlayfs_py: Path, name: str) -> None:
    shown = run([overlayfs_py, "store", name, "--help"])

    assert f"  overlayfs-py store {name}" in shown.partition("Examples:")[2]


def test_a_sound_store_is_found_sound(overlay: Overlay, image: str) -> None:
    assert image
    done = overlay("store", "fsck")

    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing is wrong\n", "")
    assert overlay("store", "fsck", "--deep").stdout == "nothing is wrong\n"


def test_damage_is_told_repaired_and_gone(overlay: Overlay, image: str, scratch: Path) -> None:
    assert image
    (pack,) = (_store(scratch) / "layers").glob("*/layer.pack")
    with pack.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")

    told = overlay("store", "fsck", "--json")
    assert told.returncode == 37
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert [row["Kind"] for row in rows] == ["layer", "image"]
    repaired = overlay("store", "fsck", "--repair")
    assert repaired.returncode == 0
    assert "moved to quarantine/" in repaired.stdout
    assert overlay("store", "fsck").stdout == "nothing is wrong\n"
    assert "Total reclaimed space: " in overlay("store", "prune").stdout
    assert list((_store(scratch) / "quarantine").iterdir()) == []


def test_room_is_measured(overlay: Overlay, image: str) -> None:
    usage = json.loads(overlay("store", "df", "--json").stdout)

    assert usage["Layers"]["Count"] == 1
    assert usage["Images"][0]["Names"] == ["docker.io/library/busybox:1"]
    assert usage["Images"][0]["SharedBytes"] == 0
    assert usage["Images"][0]["UniqueBytes"] > 0
    table = overlay("store", "df", "-v").stdout
    assert table.startswith("TYPE ")
    assert image in table


def test_prune_asks_and_removes(overlay: Overlay, image: str) -> None:
    assert overlay("image", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    assert overlay("image", "prune", "-a").returncode == 130  # nobody answers

    done = overlay("image", "prune", "-a", "-f")

    assert done.stdout.startswith(f"Deleted Images:\nuntagged: {image}\ndeleted: sha256:")
    assert overlay("images", "-q").stdout == ""
