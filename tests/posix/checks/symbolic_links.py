"""symlink(2), readlink(2), and what follows a link and what does not."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tests.posix.descriptors import create
from tests.posix.expecting import names, refused, unchanged
from tests.posix.prepared import TEXT
from tests.posix.registry import check


@check()
def a_symlink_holds_its_target_as_it_is(root: Path) -> None:
    for number, target in enumerate((b"file", b"../x//./y/", b"/absolute", b"\xff\xfe\n", b" ")):
        path = os.fsencode(root / f"link{number}")
        os.symlink(target, path)
        assert os.readlink(path) == target
        assert os.lstat(path).st_size == len(target)
        assert stat.S_ISLNK(os.lstat(path).st_mode)


@check()
def the_mode_of_a_symlink_is_fixed(root: Path) -> None:
    assert os.lstat(root / "link").st_mode & 0o7777 == 0o777
    os.symlink("x", root / "new")
    assert os.lstat(root / "new").st_mode & 0o7777 == 0o777


@check()
def a_target_is_as_long_as_a_path(root: Path) -> None:
    for length in (59, 60, 61, 255, 256, 4000, 4095):
        os.symlink("x" * length, root / f"link{length}")
        assert os.readlink(root / f"link{length}") == "x" * length
    with refused(errno.ENAMETOOLONG):
        os.symlink("x" * 4096, root / "toolong")


@check()
def an_empty_target_is_refused(root: Path) -> None:
    with refused(errno.ENOENT):
        os.symlink("", root / "new")


@check()
def a_symlink_replaces_nothing(root: Path) -> None:
    for name in ("file", "dir", "dangling", "link"):
        with refused(errno.EEXIST):
            os.symlink("x", root / name)


@check()
def only_a_symlink_is_read_as_one(root: Path) -> None:
    for name in ("file", "dir", "fifo"):
        with refused(errno.EINVAL):
            os.readlink(root / name)


@check()
def links_lead_to_files_and_directories(root: Path) -> None:
    assert (root / "link").read_bytes() == TEXT
    assert (root / "dirlink/sub/deep").read_bytes() == b"deep"
    assert names(root / "dirlink") == {"a", "b", "sub"}
    create(root / "dirlink/new", b"x")
    assert (root / "dir/new").read_bytes() == b"x"


@check()
def relative_targets_start_at_the_link(root: Path) -> None:
    os.symlink("../../file", root / "dir/sub/up")
    assert (root / "dir/sub/up").read_bytes() == TEXT
    os.rename(root / "dir/sub/up", root / "dir/up")
    with refused(errno.ENOENT):
        os.stat(root / "dir/up")


@check()
def a_loop_is_refused(root: Path) -> None:
    with refused(errno.ELOOP):
        os.stat(root / "loop")
    os.symlink("pong", root / "ping")
    os.symlink("ping", root / "pong")
    with refused(errno.ELOOP):
        Path(root / "ping").read_bytes()


@check()
def forty_links_are_followed_and_no_more(root: Path) -> None:
    os.symlink("file", root / "hop0")
    for number in range(1, 41):
        os.symlink(f"hop{number - 1}", root / f"hop{number}")
    assert (root / "hop39").read_bytes() == TEXT
    with refused(errno.ELOOP):
        os.stat(root / "hop40")


@check()
def a_dangling_link_is_there_but_leads_nowhere(root: Path) -> None:
    assert os.readlink(root / "dangling") == "nowhere"
    with refused(errno.ENOENT):
        os.stat(root / "dangling")


@check()
def a_slash_after_a_link_follows_it(root: Path) -> None:
    assert stat.S_ISDIR(os.lstat(f"{root}/dirlink/").st_mode)
    with refused(errno.ENOTDIR):
        os.lstat(f"{root}/link/")


@check()
def chmod_follows_a_link(root: Path) -> None:
    os.chmod(root / "link", 0o601)
    assert os.lstat(root / "file").st_mode & 0o7777 == 0o601
    assert os.lstat(root / "link").st_mode & 0o7777 == 0o777


@check()
def lchown_changes_the_link_alone(root: Path) -> None:
    with unchanged(root / "file", "st_uid", "st_gid", "st_ctime_ns"):
        os.lchown(root / "link", 11, 12)
    found = os.lstat(root / "link")
    assert (found.st_uid, found.st_gid) == (11, 12)
    assert os.readlink(root / "link") == "file"


@check()
def chown_follows_a_link(root: Path) -> None:
    with unchanged(root / "link", "st_uid", "st_gid"):
        os.chown(root / "link", 11, 12)
    assert os.lstat(root / "file").st_uid == 11


@check()
def times_of_a_link_are_its_own(root: Path) -> None:
    with unchanged(root / "file", "st_mtime_ns", "st_ctime_ns"):
        os.utime(root / "link", ns=(7, 8), follow_symlinks=False)
    assert os.lstat(root / "link").st_mtime_ns == 8
    os.utime(root / "link", ns=(9, 10))
    assert os.lstat(root / "file").st_mtime_ns == 10
    assert os.lstat(root / "link").st_mtime_ns == 8


@check()
def a_link_is_replaced_by_a_rename(root: Path) -> None:
    os.symlink("big", root / "new")
    os.rename(root / "new", root / "link")
    assert os.readlink(root / "link") == "big"
    assert (root / "file").read_bytes() == TEXT


@check()
def a_link_is_removed_and_made_anew(root: Path) -> None:
    os.unlink(root / "link")
    os.symlink("dir", root / "link")
    assert names(root / "link") == {"a", "b", "sub"}


@check()
def a_symlink_has_no_user_xattrs(root: Path) -> None:
    with refused(errno.EPERM, errno.EOPNOTSUPP):
        os.setxattr(root / "link", "user.x", b"1", follow_symlinks=False)
    assert os.listxattr(root / "file") == []


@check()
def a_trusted_xattr_stays_on_the_link(root: Path) -> None:
    os.setxattr(root / "link", "trusted.x", b"1", follow_symlinks=False)
    assert os.getxattr(root / "link", "trusted.x", follow_symlinks=False) == b"1"
    assert os.listxattr(root / "file") == []
    assert os.readlink(root / "link") == "file"
