"""Real tars by several tools, of one small tree with everything in it that a tar can hold."""

from __future__ import annotations

import os
import stat
import tarfile
from typing import TYPE_CHECKING

from tests.support.trees import Device, Dir, Fifo, File, HardLink, Symlink, build
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Maker = Callable[[Path, Path], None]  # the tree, the tar to make

LONG = "long/" + "d" * 90 + "/" + "f" * 200
SPARSE_SIZE = 9 << 20
# Not a time that a double holds.
TIME_NS = 1_234_567_890_123_456_789


def make_tree(root: Path) -> None:
    root.mkdir()
    build(
        root,
        {
            "bin": Symlink(target="usr/bin"),
            "usr/bin/su": File(b"#!" + os.urandom(70_000), mode=0o4755),
            "usr/bin/empty": File(),
            "usr/bin/su-link": HardLink("usr/bin/su"),
            "tmp": Dir(mode=0o1777, mtime_ns=TIME_NS),
            "dev/null": Device(stat.S_IFCHR, 1, 3, mode=0o666),
            "dev/sda": Device(stat.S_IFBLK, 8, 0),
            "dev/fifo": Fifo(),
            "home": Dir(uid=1000, gid=3_000_000),
            "home/exact": File(b"x" * 512, uid=1000, gid=100, mtime_ns=TIME_NS),
            "home/old": File(b"before the epoch", mtime_ns=-1_500_000_000),
            "home/xattrs": File(
                b"x", xattrs={"user.a": b"1", "user.b=c": b"\0\xff\n", "user.empty": b""}
            ),
            "home/latin-\udce9": File(b"not UTF-8"),
            "home/ünïcode": File(b"UTF-8"),
            "home/new\nline": File(b"newline"),
            LONG: File(b"long name"),
            "long/link": Symlink(target="../" * 40 + LONG),
            "sparse": File(b"beginning", size=SPARSE_SIZE),
            "hole": File(size=1 << 20),
        },
    )
    with (root / "sparse").open("r+b") as file:
        file.seek(4 << 20)
        file.write(b"middle" * 2000)
    run(["setfattr", "-n", "security.capability", "-v", _CAPABILITY, root / "usr/bin/empty"])


_CAPABILITY = "0x0100000200040000000000000000000000000000"  # cap_net_raw+ep


def _gnu(*options: str) -> Maker:
    def make(tree: Path, target: Path) -> None:
        run(["tar", "-c", "-f", target, *options, "-C", tree, "."])

    return make


def _bsd(*options: str) -> Maker:
    def make(tree: Path, target: Path) -> None:
        run(["bsdtar", "-c", "-f", target, *options, "-C", tree, "."])

    return make


def _python(form: int) -> Maker:
    def make(tree: Path, target: Path) -> None:
        with tarfile.open(
            target, "w", format=form, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            tar.add(tree, ".")

    return make


def _without(make: Maker, *names: str) -> Maker:
    """For dialects that have no place for what is there."""

    def make_reduced(tree: Path, target: Path) -> None:
        reduced = target.with_name("reduced")
        run(["cp", "-a", tree, reduced])
        run(["rm", "-r", *(reduced / name for name in names)])
        os.chown(reduced / "home", 1000, 1000)
        run(["setfattr", "-x", "user.b=c", reduced / "home/xattrs"])
        make(reduced, target)
        run(["rm", "-r", reduced])

    return make_reduced


def _duplicates(tree: Path, target: Path) -> None:
    run(["tar", "-c", "-f", target, "-C", tree, "."])
    run(["tar", "-r", "-f", target, "-C", tree, "usr", "home/exact", "sparse"])


def _concatenated(tree: Path, target: Path) -> None:
    run(["tar", "-c", "-f", target, "-C", tree, "usr"])
    second = target.with_name("second.tar")
    run(["tar", "-c", "-f", second, "-C", tree, "home"])
    # A second tar behind the end of the first: part of the bytes, not of the layer.
    target.write_bytes(target.read_bytes() + second.read_bytes() + b"garbage")


def _busybox(tree: Path, target: Path) -> None:
    run(["busybox", "tar", "-c", "-f", target, "-C", tree, "."])


def _package(tree: Path, target: Path) -> None:
    """dpkg-deb's: the way by which most files of a Debian come."""
    staged = target.with_name("package")
    run(["cp", "-a", tree, staged])
    run(["rm", staged / "home/new\nline"])
    build(staged, {"DEBIAN/control": File(_CONTROL)})
    package = target.with_suffix(".deb")
    run(["dpkg-deb", "--build", "-Znone", staged, package])
    with target.open("wb") as out:
        out.write(_member_of_archive(package.read_bytes(), b"data.tar"))
    run(["rm", "-r", staged])


_CONTROL = b"""Package: p
Version: 1
Architecture: all
Maintainer: Nobody <nobody@localhost>
Description: p
"""


def _member_of_archive(data: bytes, wanted: bytes) -> bytes:
    """Return a member of an ar archive."""
    at = 8
    while at < len(data):
        name, size = data[at : at + 16].strip(b" /"), int(data[at + 48 : at + 58])
        if name == wanted:
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise AssertionError(f"no {wanted!r}")


def _buildah(tree: Path, target: Path) -> None:
    home = target.with_name("buildah")
    context = target.with_name("context")
    context.mkdir()
    run(["tar", "-c", "-f", context / "root.tar", "--xattrs", "-C", tree, "."])
    (context / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
    argv = ["buildah", "--root", home / "root", "--runroot", home / "run"]
    argv += ["--storage-driver", "vfs"]
    run([*argv, "build", "--isolation", "chroot", "--tag", "layer", context])
    run([*argv, "push", "--disable-compression", "layer", f"dir:{home / 'image'}"])
    _take_largest(home / "image", target)
    run([*argv, "rmi", "--all", "--force"])
    run(["rm", "-r", home, context])


def _umoci(tree: Path, target: Path) -> None:
    """umoci's gzipped, then skopeo's uncompressed copy of it."""
    layout, bundle = target.with_name("layout"), target.with_name("bundle")
    run(["umoci", "init", "--layout", layout])
    run(["umoci", "new", "--image", f"{layout}:image"])
    run(["umoci", "unpack", "--image", f"{layout}:image", bundle])
    run(["cp", "-a", f"{tree}/.", bundle / "rootfs"])
    run(["umoci", "repack", "--image", f"{layout}:image", bundle])
    image = target.with_name("image")
    run(["skopeo", "copy", "--dest-decompress", f"oci:{layout}:image", f"dir:{image}"])
    _take_largest(image, target)
    run(["rm", "-r", layout, bundle, image])


def _take_largest(image: Path, target: Path) -> None:
    blobs = [path for path in image.iterdir() if path.name not in ("version", "manifest.json")]
    max(blobs, key=lambda path: path.stat().st_size).rename(target)


def _incremental(tree: Path, target: Path) -> None:
    _gnu(f"--listed-incremental={target}.snapshot")(tree, target)


def _with_globals(tree: Path, target: Path) -> None:
    options = ["--pax-option=comment=global,uname=someone,mtime:=1.5"]
    run(["tar", "-c", "-f", target, "--format=pax", *options, "-C", tree, "."])


_BEYOND_USTAR = ("long", "home/old")

MAKERS: Mapping[str, Maker] = {
    "gnu": _gnu("--format=gnu"),
    "gnu, v7": _without(_gnu("--format=v7"), *_BEYOND_USTAR, "dev"),
    "gnu, oldgnu": _gnu("--format=oldgnu"),
    "gnu, ustar": _without(_gnu("--format=ustar"), *_BEYOND_USTAR),
    "gnu, pax": _gnu("--format=pax"),
    "gnu, pax and xattrs": _gnu("--format=pax", "--xattrs", "--xattrs-include=*"),
    "gnu, pax and acls": _gnu("--format=pax", "--xattrs", "--acls"),
    "gnu, pax globals": _with_globals,
    "gnu, sparse": _gnu("--format=gnu", "--sparse"),
    "gnu, sparse oldgnu": _gnu("--format=oldgnu", "--sparse"),
    "gnu, sparse 0.0": _gnu("--format=pax", "--sparse", "--sparse-version=0.0"),
    "gnu, sparse 0.1": _gnu("--format=pax", "--sparse", "--sparse-version=0.1"),
    "gnu, sparse 1.0": _gnu("--format=pax", "--sparse", "--sparse-version=1.0"),
    "gnu, incremental": _incremental,
    "gnu, label": _gnu("--format=gnu", "--label=a tape"),
    "gnu, absolute names": _gnu("--absolute-names", "--transform=s,^\\.,/,S"),
    "gnu, small blocks": _gnu("--blocking-factor=1", "--numeric-owner", "--sort=name"),
    "gnu, duplicates": _duplicates,
    "gnu, concatenated": _concatenated,
    "bsdtar, gnutar": _bsd("--format=gnutar"),
    "bsdtar, pax": _bsd("--format=pax", "--xattrs", "--acls"),
    "bsdtar, restricted pax": _bsd("--format=paxr"),
    "bsdtar, sparse pax": _bsd("--format=pax", "--read-sparse"),
    "bsdtar, ustar": _without(_bsd("--format=ustar"), *_BEYOND_USTAR),
    "bsdtar, v7": _without(_bsd("--format=v7tar"), *_BEYOND_USTAR, "dev"),
    "python, ustar": _without(_python(tarfile.USTAR_FORMAT), *_BEYOND_USTAR),
    "python, gnu": _python(tarfile.GNU_FORMAT),
    "python, pax": _python(tarfile.PAX_FORMAT),
    "busybox": _busybox,
    "dpkg-deb": _package,
    "buildah": _buildah,
    "umoci": _without(_umoci, "dev/sda"),
}
