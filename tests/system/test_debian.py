"""A real Debian in layers: packages install, directories go and move, the layers stay as they are.

The same upper then shows the same tree under kernel overlayfs, whichever of the two wrote it.
"""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.support.snapshot import differences, snapshot
from tests.system.processes import attempt, run
from tests.system.stack import EMPTY, Stack
from tests.system.untouched import untouched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.snapshot import Snapshot

CONTROL = """\
Package: overlay-probe
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@localhost>
Description: a package that leaves a trace in every place that packages do
"""

POSTINST = """\
#!/bin/sh
set -e
echo "configured $2" > /var/lib/overlay-probe/state
chown daemon:daemon /var/lib/overlay-probe/state
"""

# /out is a volume under ours and a bind mount under the kernel.
WORK = """
set -e
dpkg --install /deb/overlay-probe.deb
overlay-probe > /out/probe
dpkg-query --show --showformat '${Status}' overlay-probe > /out/status
rm -r /usr/share/doc
mv /usr/share/locale /usr/share/languages
mkdir /usr/share/locale
perl -e '
    open(my $in, "<", "/etc/passwd") or die;
    open(my $out, ">", "/out/users") or die;
    print $out sort map { (split /:/)[0] . "\\n" } <$in>;
'
test -z "$(ls /usr/share/locale)"
test -n "$(ls /usr/share/languages)"
"""


@pytest.fixture
def layers(scratch: Path, debian: tuple[Path, ...]) -> tuple[Path, ...]:
    """Debian under a small layer of the kind that a build's last step leaves."""
    extra = scratch / "extra"
    for directory in ("etc/skel", "usr/share", "deb", "out"):
        (extra / directory).mkdir(parents=True)
    (extra / "etc/skel/only").write_text("the others are hidden\n")
    os.setxattr(extra / "etc/skel", "trusted.overlay.opaque", b"y")
    os.mknod(extra / "usr/share/bug", 0o020000)
    build_package(scratch / "package", extra / "deb/overlay-probe.deb")
    return (extra, *debian)


@pytest.fixture
def out(scratch: Path) -> Path:
    directory = scratch / "out"
    directory.mkdir()
    return directory


def build_package(tree: Path, package: Path) -> None:
    files = {
        "DEBIAN/control": (CONTROL, 0o644),
        "DEBIAN/conffiles": ("/etc/overlay-probe.conf\n", 0o644),
        "DEBIAN/postinst": (POSTINST, 0o755),
        "etc/overlay-probe.conf": ("probe\n", 0o644),
        "usr/bin/overlay-probe": ("#!/bin/sh\ncat /etc/overlay-probe.conf\n", 0o755),
        "usr/share/doc/overlay-probe/copyright": ("none\n", 0o644),
        "var/lib/overlay-probe/keep": ("", 0o600),
    }
    for name, (text, mode) in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(mode)
    run(["dpkg-deb", "--build", "--root-owner-group", tree, package])


def assert_worked(out: Path) -> None:
    assert (out / "probe").read_text() == "probe\n"
    assert (out / "status").read_text() == "install ok installed"
    users = (out / "users").read_text().split()
    assert users == sorted(users)
    assert {"root", "daemon", "nobody"} <= set(users)


def chroot_argv(overlayfs_py: Path, layers: tuple[Path, ...], out: Path) -> list[str]:
    return [str(overlayfs_py), "chroot", ":".join(map(str, layers)), "-v", f"{out}:/out"]


def work_under_kernel(stack: Stack, out: Path) -> None:
    """Do the same work on kernel overlayfs, in a namespace that takes /proc and /dev with it."""
    prepare = f"""
        mount -t proc proc {stack.target}/proc
        mount --rbind /dev {stack.target}/dev
        mount --bind {out} {stack.target}/out
        exec chroot {stack.target} sh -c "$0"
    """
    private = ["unshare", "--mount", "--propagation", "private"]
    with stack.mounted_by_kernel():
        run([*private, "sh", "-ec", textwrap.dedent(prepare), WORK])


def assert_same(left: Snapshot, right: Snapshot) -> None:
    differing = differences(left, right)
    assert not differing, f"{len(differing)} differences:\n" + "\n".join(map(str, differing[:20]))
    assert len(left) > 5000  # it is the whole system that was compared


@pytest.fixture
def kept(scratch: Path, layers: tuple[Path, ...]) -> Stack:
    """Where `chroot --keep` leaves its upper, with a mount point beside."""
    keep = scratch / "keep"
    (scratch / "merged").mkdir()
    return Stack(layers, keep / "upper", keep / "work", scratch / "merged")


def test_work_in_a_debian_leaves_its_layers_untouched(
    overlayfs_py: Path, layers: tuple[Path, ...], out: Path
) -> None:
    with untouched(layers):
        run([*chroot_argv(overlayfs_py, layers, out), "--", "sh", "-c", WORK])

    assert_worked(out)


def test_the_small_layer_hides_names_of_the_others(
    overlayfs_py: Path, layers: tuple[Path, ...], out: Path, debian: tuple[Path, ...]
) -> None:
    assert (debian[0] / "usr/share/bug").is_dir()
    assert (debian[1] / "etc/skel/.bashrc").is_file()

    look = "ls -A /etc/skel; test ! -e /usr/share/bug; grep -c . /etc/passwd > /out/count"
    shown = run([*chroot_argv(overlayfs_py, layers, out), "--", "sh", "-ec", look])

    assert shown.split() == ["only"]
    assert int((out / "count").read_text()) > 10


def test_the_command_gives_its_exit_status(
    overlayfs_py: Path, layers: tuple[Path, ...], out: Path
) -> None:
    argv = [*chroot_argv(overlayfs_py, layers, out), "--", "perl", "-e", "exit 7"]

    assert attempt(argv, env=EMPTY).returncode == 7


def test_our_upper_shows_the_same_tree_under_the_kernel(
    overlayfs_py: Path, layers: tuple[Path, ...], out: Path, kept: Stack
) -> None:
    argv = chroot_argv(overlayfs_py, layers, out)
    run([*argv, "--keep", kept.upper.parent, "--", "sh", "-c", WORK])

    with untouched(layers):
        with kept.mounted(overlayfs_py) as merged:
            ours = snapshot(merged, mtime=True)
        with kept.mounted_by_kernel() as merged:
            kernels = snapshot(merged, mtime=True, check_inodes=False)

    assert b"usr/share/doc" not in ours
    assert b"usr/share/languages/de" in ours
    assert_same(ours, kernels)


def test_a_kernel_upper_shows_the_same_tree_under_ours(
    overlayfs_py: Path, layers: tuple[Path, ...], out: Path, scratch: Path
) -> None:
    stack = Stack.make(scratch / "kernel", layers)
    work_under_kernel(stack, out)
    assert_worked(out)

    with stack.mounted_by_kernel() as merged:
        kernels = snapshot(merged, mtime=True, check_inodes=False)
    with stack.mounted(overlayfs_py) as merged:
        ours = snapshot(merged, mtime=True)

    assert_same(ours, kernels)
