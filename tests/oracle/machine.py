"""The state machine: random layers, then random system calls, each on both sides."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.oracle.differential import Differential
from tests.oracle.layers import (
    ACCESS,
    ACLS,
    DEFAULT,
    LONG_NAME,
    NAMES,
    PAST_S,
    TARGETS,
    Layer,
    stacks,
)
from tests.oracle.operations import SHARED_GROUP
from tests.support.uppers import TRUSTED

if TYPE_CHECKING:
    from tests.oracle.sides import Party

_MOST_HANDLES = 4
_MOST_COMMITS = 3


class Aim(NamedTuple):
    """A path as a strategy can name it without knowing the tree: resolved by `Machine._at`."""

    among: str  # what the last view showed: "file", "directory" or "any" of it
    index: int
    below: bytes | None  # a name in that directory, not the directory

    def __repr__(self) -> str:
        return repr(tuple(self))


_index = st.integers(0, 40)
_names = st.sampled_from((*NAMES, *NAMES, LONG_NAME, b"."))
_directory = st.builds(Aim, st.just("directory"), _index, st.none())
_file = st.builds(Aim, st.just("file"), _index, st.none())
_any = st.builds(Aim, st.just("any"), _index, st.none())
_new = st.builds(Aim, st.just("directory"), _index, _names)
_files = st.one_of(_file, _file, _file, _any, _new)
_directories = st.one_of(_directory, _directory, _directory, _any, _new)
_targets = st.one_of(_any, _file, _directory, _any, _new)
_creations = st.one_of(_new, _new, _new, _any)
_users = st.integers(0, 3)  # the place of one in `Machine.users`
_modes = st.sampled_from((0o644, 0o755, 0o600, 0o4755, 0o2775, 0o1777, 0o000))
_masks = st.sampled_from((0o022, 0, 0o077))
_sizes = st.sampled_from((0, 1, 3, 4096, 70_000))
_data = st.sampled_from((b"", b"new", b"z" * 5000))
_usual_flags = st.sampled_from(
    (
        os.O_RDONLY,
        os.O_RDWR,
        os.O_WRONLY,
        os.O_RDWR | os.O_CREAT,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL,
        os.O_RDWR | os.O_APPEND,
        os.O_RDONLY | os.O_TRUNC,
        os.O_RDONLY | os.O_DIRECTORY,
    )
)
_odd_flags = st.builds(
    lambda access, extras: access | sum(extras),
    st.sampled_from((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)),
    st.sets(
        st.sampled_from(
            (os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW)
        )
    ),
)
_flags = st.one_of(_usual_flags, _usual_flags, _odd_flags)
_xattr_names = st.sampled_from(
    (
        b"user.x",
        b"user.y",
        b"trusted.x",
        b"security.x",
        ACCESS,
        DEFAULT,
        b"trusted.overlay.opaque",
        b"trusted.overlay.x",
        b"user.overlay.x",
        b"user." + b"n" * 250,
        b"nonsense",
    )
)
_xattr_values = st.sampled_from((b"1", b"", b"y", b"v" * 200, *ACLS))
_times = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(
        lambda pair: tuple((PAST_S + 7 * second) * 10**9 + 123_456_789 for second in pair)
    ),
)
_handles = st.integers(0, _MOST_HANDLES - 1)


class Machine(RuleBasedStateMachine):
    """Subclasses say who is compared, and how often the trees are."""

    right: Party
    tested: Party
    pair_kind: type[Differential] = Differential
    namespace: bytes = TRUSTED
    compare_every: int = 1
    swap: bool = True
    # Without its index, which it refuses in a user namespace, the kernel takes hard links apart
    # at copy-up: there is nothing to compare then.
    layers_have_links: bool = True
    metacopies: bool = False
    users: tuple[int, ...] = (0, 0, 0, 1000)  # the first is who acts unless a rule draws another
    # With a mode given, the tree's root belongs to 1000 and to the group that users share.
    root_mode: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="oracle-"))
        self.base.chmod(0o755)
        self.pair: Differential | None = None
        self.held_paths: dict[int, bytes] = {}  # where each handle was opened
        self.done = 0
        self.failed = False

    @initialize(stack=stacks)
    def begin(self, stack: list[Layer]) -> None:
        if not self.layers_have_links:
            stack = [layer.without_links() for layer in stack]
        self.pair = self.pair_kind(
            self.base,
            stack,
            self.right,
            self.tested,
            namespace=self.namespace,
            metacopies=self.metacopies,
        )
        if self.root_mode is not None:
            self._do("lchown", b".", 1000, SHARED_GROUP)
            self._do("chmod", b".", self.root_mode)
        self._guard(self.pair.compare)

    def _guard(self, check: object, *arguments: object, **options: object) -> object:
        try:
            return check(*arguments, **options)
        except BaseException:
            self.failed = True
            raise

    def _do(self, name: str, *arguments: object, user: int = 0) -> object:
        result = self._guard(self.pair.do, name, *arguments, uid=self.users[user])
        self.done += 1
        if self.done % self.compare_every == 0:
            self._guard(self.pair.compare)
        return result

    def teardown(self) -> None:
        try:
            if self.pair is not None and not self.failed:
                self.pair.finish(swap=self.swap)
        finally:
            if self.pair is not None:
                self.pair.close()
            shutil.rmtree(self.base)

    def _at(self, aim: Aim) -> bytes:
        among = self.pair.known[aim.among] or self.pair.known["any"]
        # The root comes last: an index that shrinks to 0 should not name the root.
        found = among[aim.index % len(among)]
        if aim.below is None:
            return found
        return aim.below if found == b"." else found + b"/" + aim.below

    # Rules

    @rule(path=_files, flags=_flags, mode=_modes, mask=_masks, user=_users)
    def open(self, path, flags, mode, mask, user) -> None:
        self._do("open", self._at(path), flags, mode, mask, user=user)

    @rule(path=_files, user=_users)
    def read(self, path, user) -> None:
        self._do("read", self._at(path), user=user)

    @rule(path=_files, offset=_sizes, data=_data, user=_users)
    def write(self, path, offset, data, user) -> None:
        self._do("write", self._at(path), offset, data, user=user)

    @rule(path=_files, data=_data)
    def append(self, path, data) -> None:
        self._do("append", self._at(path), data)

    @rule(path=_files, size=_sizes, user=_users)
    def truncate(self, path, size, user) -> None:
        self._do("truncate", self._at(path), size, user=user)

    @rule(path=_targets, user=_users)
    def unlink(self, path, user) -> None:
        self._do("unlink", self._at(path), user=user)

    @rule(path=_directories, user=_users)
    def rmdir(self, path, user) -> None:
        self._do("rmdir", self._at(path), user=user)

    @rule(path=_any)
    def rmtree(self, path) -> None:
        self._do("rmtree", self._at(path))

    @rule(path=_creations, mode=_modes, mask=_masks, user=_users)
    def mkdir(self, path, mode, mask, user) -> None:
        self._do("mkdir", self._at(path), mode, mask, user=user)

    @rule(target_=st.sampled_from(TARGETS), path=_creations, user=_users)
    def symlink(self, target_, path, user) -> None:
        self._do("symlink", target_, self._at(path), user=user)

    @rule(
        path=_creations,
        kind=st.sampled_from((stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK, stat.S_IFCHR)),
        mode=_modes,
        rdev=st.sampled_from((0, os.makedev(1, 3))),
        mask=_masks,
        user=_users,
    )
    def mknod(self, path, kind, mode, rdev, mask, user) -> None:
        self._do("mknod", self._at(path), kind | mode, rdev, mask, user=user)

    @rule(old=_files, new=_creations, user=_users)
    def link(self, old, new, user) -> None:
        self._do("link", self._at(old), self._at(new), user=user)

    @rule(
        old=_targets, new=st.one_of(_new, _any), flags=st.sampled_from((0, 0, 1, 2, 4)), user=_users
    )
    def rename(self, old, new, flags, user) -> None:
        self._do("rename", self._at(old), self._at(new), flags, user=user)

    @rule(old=_directory, new=_new, flags=st.sampled_from((0, 0, 2)))
    def move(self, old, new, flags) -> None:
        """Again, for directories: the redirects are where much can go wrong."""
        self._do("rename", self._at(old), self._at(new), flags)

    @rule(path=_targets)
    def lstat(self, path) -> None:
        self._do("lstat", self._at(path))

    @rule(path=_any)
    def readlink(self, path) -> None:
        self._do("readlink", self._at(path))

    @rule(path=_directories, user=_users)
    def listdir(self, path, user) -> None:
        self._do("listdir", self._at(path), user=user)

    @rule(path=_targets, mode=st.integers(0, 7), user=_users)
    def access(self, path, mode, user) -> None:
        self._do("access", self._at(path), mode, user=user)

    @rule(path=_targets, mode=_modes, user=_users)
    def chmod(self, path, mode, user) -> None:
        self._do("chmod", self._at(path), mode, user=user)

    @rule(
        path=_targets,
        owner=st.sampled_from((0, 1000, 1001, -1)),
        group=st.sampled_from((0, 1000, SHARED_GROUP, -1)),
        user=_users,
    )
    def lchown(self, path, owner, group, user) -> None:
        self._do("lchown", self._at(path), owner, group, user=user)

    @rule(path=_targets, times=_times, user=_users)
    def utimens(self, path, times, user) -> None:
        self._do("utimens", self._at(path), times, user=user)

    @rule(
        path=_targets,
        name=_xattr_names,
        value=_xattr_values,
        flags=st.sampled_from((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE)),
        user=_users,
    )
    def setxattr(self, path, name, value, flags, user) -> None:
        self._do("setxattr", self._at(path), name, value, flags, user=user)

    @rule(path=_targets, name=_xattr_names, user=_users)
    def removexattr(self, path, name, user) -> None:
        self._do("removexattr", self._at(path), name, user=user)

    @rule(path=_targets, name=_xattr_names, user=_users)
    def getxattr(self, path, name, user) -> None:
        self._do("getxattr", self._at(path), name, user=user)

    @rule(path=_targets, user=_users)
    def listxattr(self, path, user) -> None:
        self._do("listxattr", self._at(path), user=user)

    @rule(handle=_handles, path=_files, flags=_flags, mode=_modes, user=_users)
    def hold(self, handle, path, flags, mode, user) -> None:
        found = self._at(path)
        self._do("hold", handle, found, flags, mode, user=user)
        self.held_paths[handle] = found

    @rule(
        pick=_index,
        path=_file,
        user=_users,
        what=st.one_of(
            st.just(("fd_stat",)),
            st.tuples(st.just("fd_read"), _sizes),
            st.tuples(st.just("fd_write"), _sizes, _data),
            st.tuples(st.just("fd_append"), _data),
            st.tuples(st.just("fd_truncate"), _sizes),
            st.tuples(st.just("fd_chmod"), _modes),
            st.tuples(st.just("fd_setxattr"), _xattr_names, _xattr_values),
            st.just(("fd_listxattr",)),
            st.just(("fd_sync",)),
            st.just(("fd_listdir",)),
            st.tuples(st.just("fd_create"), _names),
            st.just(("fd_close",)),
        ),
    )
    def use_held(self, pick, path, user, what) -> None:
        name, *arguments = what
        if held := self._held(pick, path):
            self._do(name, *held, *arguments, user=user)

    @rule(pick=_index, path=_file, new=_new, user=_users)
    def link_held(self, pick, path, new, user) -> None:
        if held := self._held(pick, path):
            self._do("fd_link", *held, self._at(new), user=user)

    @rule(pick=_index, path=_file, name=st.sampled_from(("unlink", "rmdir")))
    def drop_held(self, pick, path, name) -> None:
        if held := self._held(pick, path):
            self._do(name, self.held_paths[held[0]])

    def _held(self, pick: int, path: Aim) -> list[int]:
        """One held handle, of `path` if there was none yet; none if it cannot be opened."""
        held = self.pair.tested.place.held
        if not held:
            self.held_paths[0] = self._at(path)
            self._do("hold", 0, self.held_paths[0], os.O_RDWR, 0)
        return [sorted(held)[pick % len(held)]] if held else []

    @rule()
    def commit(self) -> None:
        # The kernel's upper alone does not say which files of a layer were hard links.
        if not self.pair.has_layer_links and self.pair.right.trees.commits < _MOST_COMMITS:
            self._guard(self.pair.commit)
            self._guard(self.pair.compare)

    @rule()
    def remount(self) -> None:
        self._guard(self.pair.remount)
        self._guard(self.pair.compare)
