"""Layers and uppers on filesystems that can less than ext4."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import run
from tests.system.stack import Stack, make_layers
from tests.system.unprivileged import as_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def filesystem(kind: str, target: Path) -> Iterator[Path]:
    target.mkdir()
    run(["mount", "-t", kind, kind, target])
    target.chmod(0o755)
    try:
        yield target
    finally:
        run(["umount", target])


# ramfs knows no xattr at all, and so no ACL; tmpfs has both.
@pytest.mark.parametrize("kind", ["ramfs", "tmpfs"])
def test_others_read_and_root_changes_a_layer_of_any_filesystem(
    scratch: Path, overlayfs_py: Path, kind: str
) -> None:
    with filesystem(kind, scratch / "elsewhere") as elsewhere:
        stack = Stack.make(scratch / "mount", make_layers(elsewhere))
        with stack.mounted(overlayfs_py) as merged:
            before = run(as_user(["cat", merged / "etc/plain", merged / "etc/replaced"]))
            with (merged / "etc/plain").open("a") as file:
                file.write("more\n")
            after = run(as_user(["cat", merged / "etc/plain"]))
            listed = run(as_user(["ls", merged / "etc"]))

    assert before == "plain\nnew\n"
    assert after == "plain\nmore\n"
    assert listed.split() == ["plain", "replaced"]


def test_layers_of_several_filesystems_keep_their_files_apart(
    scratch: Path, overlayfs_py: Path
) -> None:
    """Inode numbers of one filesystem mean nothing in another: none may meet in the mount."""
    with (
        filesystem("tmpfs", scratch / "first") as first,
        filesystem("tmpfs", scratch / "second") as second,
    ):
        for layer, name in ((first, "one"), (second, "two")):
            (layer / name).write_text(f"{name}\n")
            (layer / "both").mkdir()
            (layer / "both" / name).write_text(f"{name}\n")
        assert (first / "one").stat().st_ino == (second / "two").stat().st_ino
        stack = Stack.make(scratch / "mount", (first, second))
        with stack.mounted(overlayfs_py) as merged:
            files = [merged / name for name in ("one", "two", "both/one", "both/two")]
            identities = {file.stat().st_ino for file in files}
            contents = [file.read_text() for file in files]

    assert contents == ["one\n", "two\n"] * 2
    assert len(identities) == len(files)


def test_an_upper_on_tmpfs_takes_all_changes(scratch: Path, overlayfs_py: Path) -> None:
    with filesystem("tmpfs", scratch / "elsewhere") as elsewhere:
        stack = Stack.make(elsewhere / "mount", make_layers(scratch))
        with stack.mounted(overlayfs_py) as merged:
            (merged / "usr").rename(merged / "programs")
            (merged / "only/low").unlink()
            (merged / "only").rmdir()
            os.setxattr(merged / "etc/plain", "user.note", b"kept")
        with stack.mounted(overlayfs_py) as merged:
            assert sorted(entry.name for entry in merged.iterdir()) == ["etc", "programs"]
            assert (merged / "programs/bin/tool").is_file()
            assert os.getxattr(merged / "etc/plain", "user.note") == b"kept"
