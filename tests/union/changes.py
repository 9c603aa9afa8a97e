"""Every kind of change, over one tree: what is killed or runs out of space in the middle of it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from tests.support.trees import Dir, File, HardLink, Symlink, Whiteout

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.trees import Node
    from tests.union.world import World

_ACL = bytes.fromhex("0200000001000700ffffffff04000500ffffffff20000000ffffffff")
_OLD = 10**18

LOWER: dict[str, Node] = {
    "p/file": File(b"data", mode=0o640, uid=3, xattrs={"user.a": b"1"}, mtime_ns=_OLD),
    "p/target": File(b"target", mtime_ns=_OLD),
    "p/link": Symlink("file"),
    "p/h1": File(b"hard"),
    "p/sub/h2": HardLink("p/h1"),
    "p/dir/x": File(b"x"),
    "p/dir/deep/y": File(b"y"),
    "p/empty": Dir(mtime_ns=_OLD),
    "p/emptied/z": File(),
    "p/gone": File(b"gone"),
    "p/gonedir/g": File(b"g"),
    "q/acl": Dir(mode=0o2775, gid=9, xattrs={"system.posix_acl_default": _ACL}),
}
UPPER: dict[str, Node] = {
    "p": Dir(),
    "p/emptied": Dir(mode=0o750, uid=4),
    "p/emptied/z": Whiteout(),
    "p/gone": Whiteout(),
    "p/gonedir": Whiteout(),
    "p/upfile": File(b"up"),
    "p/updir/u": File(b"u"),
}

CHANGES: dict[str, Callable[[World], object]] = {
    "write": lambda w: w.write("p/file", b"NEW"),
    "truncate": lambda w: w.change("p/file", size=0),
    "chmod": lambda w: w.change("p/file", mode=0o4755),
    "chown a directory": lambda w: w.change("p/dir/deep", uid=7),
    "chown a link": lambda w: w.change("p/link", uid=7),
    "set an xattr": lambda w: w.set_xattr("p/dir/x", b"user.b", b"2"),
    "create": lambda w: w.put("p/dir/new"),
    "create over a whiteout": lambda w: w.put("p/gone"),
    "create as a user": lambda w: w.mknod("q/acl/new", stat.S_IFREG | 0o666, creator=_user()),
    "mkdir": lambda w: w.mkdir("p/dir/new"),
    "mkdir over a whiteout": lambda w: w.mkdir("p/gonedir"),
    "mkdir as a user": lambda w: w.mkdir("q/acl/new", 0o777, _user()),
    "symlink": lambda w: w.symlink(b"t", "p/dir/deep/new"),
    "mknod": lambda w: w.mknod("p/dir/deep/new", stat.S_IFIFO | 0o600),
    "link": lambda w: w.link("p/file", "p/dir/new"),
    "link over a whiteout": lambda w: w.link("p/upfile", "p/gone"),
    "write a hard link": lambda w: w.write("p/h1", b"HARD"),
    "unlink a lower file": lambda w: w.unlink("p/dir/x"),
    "unlink an upper file": lambda w: w.unlink("p/upfile"),
    "rmdir a lower directory": lambda w: w.rmdir("p/empty"),
    "rmdir an emptied directory": lambda w: w.rmdir("p/emptied"),
    "rename a lower file": lambda w: w.rename("p/file", "q/new"),
    "rename over a lower file": lambda w: w.rename("p/file", "p/target"),
    "rename onto a whiteout": lambda w: w.rename("p/upfile", "p/gone"),
    "rename a lower directory": lambda w: w.rename("p/dir", "q/new"),
    "rename beside": lambda w: w.rename("p/dir", "p/new"),
    "rename a directory onto a whiteout": lambda w: w.rename("p/updir", "p/gonedir"),
    "rename a lower one onto a whiteout": lambda w: w.rename("p/dir", "p/gonedir"),
    "rename over an emptied directory": lambda w: w.rename("p/dir", "p/emptied"),
    "exchange": lambda w: w.rename("p/dir", "p/file", 2),
    "exchange directories": lambda w: w.rename("p/dir", "q/acl", 2),
}


def _user() -> object:
    from overlayfs_py.union.values import Creator

    return Creator(1000, 1001, 0o022)
