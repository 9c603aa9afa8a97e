"""The writable directory of a union and its workdir: staging, whiteouts, private xattrs.

Every change of the upper that takes more than one system call is made ready in the workdir and
put in place by one rename, so a process killed at any point leaves the old state or the new one.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostDirectory
from overlayfs_py.layers.marks import TRUSTED_MARKS, USER_MARKS, WHITEOUT_PREFIX
from overlayfs_py.layers.owner_rights import do_as_owner
from overlayfs_py.syscalls import files
from overlayfs_py.union import inodes
from overlayfs_py.union.index import Index
from overlayfs_py.union.overlaps import named
from overlayfs_py.union.remove_tree import remove_tree, removing_tree
from overlayfs_py.union.upper_lock import lock
from overlayfs_py.union.values import WhiteoutStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from overlayfs_py.layers.host import HostObject, HostTree
    from overlayfs_py.union.values import StackSpec

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# The kernel's names: a workdir moves freely between us and kernel overlayfs.
_STAGE = b"work"
_VOLATILE = b"incompat"
_SHARED_WHITEOUT = b"whiteout"
_TRUSTED = b"trusted.overlay."
_USER = b"user.overlay."


class Upper:
    """The upper tree, and the stage in its workdir that only this union uses."""

    def __init__(self, tree: HostTree, work_fd: int, spec: StackSpec) -> None:
        """Take over `work_fd`, the workdir's descriptor.

        Raises:
            UpperInUse: another mount uses the upper or the workdir.
            OSError: EXDEV, they lie on different filesystems; EINVAL, a volatile kernel mount left
                the workdir unclean, or the upper can hold no deletions.
        """
        self.tree = tree
        self._work_fd = work_fd
        self._serial = 0
        self.kept: set[bytes] = set()
        self.index = Index(tree, work_fd)
        self.makes_nameless = True  # until the filesystem says otherwise
        self._require_one_mount()
        self.stage = HostDirectory.opened(tree, self._open_stage())
        try:
            assert spec.upper is not None
            assert spec.work is not None
            lock(tree.root_fd(), spec.upper, self.stage.fd(), spec.work)
            self._empty_stage()
            trusted = not spec.user_marks and self._takes(_TRUSTED)
            self.prefix = _TRUSTED if trusted else _USER
            tree.mark_names = TRUSTED_MARKS if trusted else USER_MARKS
            self.takes_xattrs = self.prefix == _TRUSTED or self._takes(_USER)
            self.style = self._possible_style(spec.whiteout)
            self._require_deletions(spec.upper)
            if self.takes_xattrs:
                self.index.key = self.prefix + b"nlink"
            self.index.remove_orphans()
        except OSError:
            self.index.close()
            self.stage.let_go()
            raise

    def _require_one_mount(self) -> None:
        work, upper = os.fstat(self._work_fd), self.tree.root.status()
        if work.st_dev != upper.st_dev:
            raise OSError(errno.EXDEV, "the workdir is not on the filesystem of the upper")
        if not _in_one_mount(self._work_fd, self.tree.root_fd()):
            raise OSError(errno.EXDEV, "the workdir is not in the mount that the upper is in")

    def _open_stage(self) -> int:
        """Open the stage, which nobody else may enter: things there are given away by name."""
        stage_fd = self._open_any_stage()
        if _is_private(stage_fd):
            return stage_fd
        os.close(stage_fd)
        remove_tree(self._work_fd, _STAGE)
        stage_fd = self._open_any_stage()
        if not _is_private(stage_fd):
            os.close(stage_fd)
            raise PermissionError(errno.EPERM, "another user owns what the workdir holds")
        return stage_fd

    def _open_any_stage(self) -> int:
        with suppress(FileExistsError):
            os.mkdir(_STAGE, 0o700, dir_fd=self._work_fd)
        try:
            return os.open(_STAGE, _OPEN | os.O_NOFOLLOW, dir_fd=self._work_fd)
        except PermissionError:  # the kernel makes it with mode 0
            files.chmod(self._work_fd, _STAGE, 0o700)
            return os.open(_STAGE, _OPEN | os.O_NOFOLLOW, dir_fd=self._work_fd)

    def _empty_stage(self) -> None:
        """Let `work/` be empty: what a killed process staged there was never in place."""
        stage_fd = self.stage.fd()
        names = [os.fsencode(name) for name in os.listdir(stage_fd)]
        if _VOLATILE in names and os.listdir(b"/proc/self/fd/%d/%s" % (stage_fd, _VOLATILE)):
            raise OSError(errno.EINVAL, "a volatile mount left the workdir unclean")
        for name in names:
            remove_tree(stage_fd, name)
        _inherit_nothing(stage_fd)

    def _takes(self, prefix: bytes) -> bool:
        try:
            os.setxattr(self.stage.fd(), prefix + b"opaque", b"n")
            os.removexattr(self.stage.fd(), prefix + b"opaque")
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EOPNOTSUPP):
                return False
            raise
        return True

    def _possible_style(self, wanted: WhiteoutStyle) -> WhiteoutStyle:
        if wanted is WhiteoutStyle.AUFS:
            return wanted
        try:
            os.mknod(_SHARED_WHITEOUT, stat.S_IFCHR, 0, dir_fd=self.stage.fd())
        except PermissionError:
            return WhiteoutStyle.AUFS
        return WhiteoutStyle.DEVICE

    def _require_deletions(self, upper: bytes) -> None:
        """Refuse an upper in another overlay: neither of our whiteouts can be written there.

        The kernel refuses one whose RENAME_WHITEOUT fails (fs/overlayfs/super.c,
        ovl_make_workdir); in a container's kernel overlay whiteout files do.
        """
        if self.style is WhiteoutStyle.DEVICE:
            return
        name = WHITEOUT_PREFIX + self.new_name()
        try:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=self.stage.fd()))
        except PermissionError as error:
            reason = "it lies in an overlay mount, where no deletion can be written"
            raise OSError(errno.EINVAL, reason, named("upperdir", upper)) from error
        os.unlink(name, dir_fd=self.stage.fd())

    @property
    def work_fd(self) -> int:
        """The workdir's descriptor, still this object's."""
        return self._work_fd

    def hand_on_stage(self, other: Upper) -> dict[bytes, bytes]:
        """Move what lies on the stage to another's; returns what each is called there by its name.

        Both lie in one mount.
        """
        moved: dict[bytes, bytes] = {}
        for name in map(os.fsencode, os.listdir(self.stage.fd())):
            if name != _SHARED_WHITEOUT:
                moved[name] = other.new_name()
                files.rename(self.stage.fd(), name, other.stage.fd(), moved[name], 0)
        other.kept |= {moved[name] for name in self.kept}
        return moved

    def close_workdir(self) -> None:
        """Leave the workdir as it was found and let others use it."""
        for name in os.listdir(self.stage.fd()):
            remove_tree(self.stage.fd(), os.fsencode(name))
        self.stage.let_go()
        self.index.close()
        os.close(self._work_fd)

    def new_name(self) -> bytes:
        """A name that nothing on the stage has."""
        self._serial += 1
        return b"#%x" % self._serial

    # Whiteouts.

    def stage_whiteout(self) -> bytes:
        """Make a whiteout device ready; returns its name on the stage.

        All are links of one inode, as the kernel's are, while the filesystem allows more links.
        """
        name = self.new_name()
        self._link_whiteout(self.stage.fd(), name)
        return name

    def _link_whiteout(self, dir_fd: int, name: bytes) -> None:
        try:
            os.link(
                _SHARED_WHITEOUT,
                name,
                src_dir_fd=self.stage.fd(),
                dst_dir_fd=dir_fd,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                raise
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=dir_fd)

    def add_whiteout(self, directory: HostDirectory, name: bytes) -> None:
        """Delete, from the layers below, a name that the upper does not have."""
        if self.style is WhiteoutStyle.DEVICE:
            self._link_whiteout(directory.fd(), name)
            return
        twin = WHITEOUT_PREFIX + name
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(twin, flags, 0o600, dir_fd=directory.fd()))
        directory.note_twin(name, exists=True)

    def remove_twin(self, directory: HostDirectory, name: bytes) -> None:
        """Remove a `.wh.NAME` file beside a name that is there again.

        One that cannot be removed hides nothing that shows: what is there is there, and nobody is
        told that it failed.
        """
        if directory.deletes(name):
            with suppress(OSError):
                os.unlink(WHITEOUT_PREFIX + name, dir_fd=directory.fd())
                directory.note_twin(name, exists=False)

    # Putting in place.

    def place(self, staged: bytes, directory: HostDirectory, name: bytes, flags: int = 0) -> None:
        """Rename from the stage to where it belongs; what cannot go there is discarded."""
        try:
            rename_as_owner(self.stage, staged, directory, name, flags)
        except OSError:
            self.discard(staged)
            raise

    def place_unseen(
        self, staged: bytes, directory: HostDirectory, name: bytes, flags: int = 0
    ) -> None:
        """Put a copy in place and the directory's times back: for users nothing has changed."""
        times = directory.status()
        self.place(staged, directory, name, flags)
        _put_times_back(directory, times)

    def link_nameless(self, fd: int, directory: HostDirectory, name: bytes) -> None:
        """Give an open file that has no name its first one; EEXIST where it is taken."""
        source, target_fd = b"/proc/self/fd/%d" % fd, directory.fd()
        _as_owner(
            lambda: os.link(source, name, dst_dir_fd=target_fd, follow_symlinks=True),
            [(target_fd, b".")],
        )

    def link_nameless_unseen(self, fd: int, directory: HostDirectory, name: bytes) -> None:
        """Do the same, and put the directory's times back."""
        times = directory.status()
        self.link_nameless(fd, directory, name)
        _put_times_back(directory, times)

    def unplace(self, directory: HostDirectory, name: bytes) -> bytes:
        """Rename something that is to be removed to the stage; returns its name there."""
        staged = self.new_name()
        rename_as_owner(directory, name, self.stage, staged, 0)
        return staged

    def discard(self, staged: bytes) -> None:
        """Remove something from the stage, with all that is below it.

        What cannot be removed now goes at the next mount: the change that it was for is done, or
        has failed for a better reason.
        """
        with suppress(OSError):
            remove_tree(self.stage.fd(), staged)

    def discarding(self, staged: bytes) -> Generator[None, None, None]:
        """Do what `discard` does, in steps."""
        with suppress(OSError):
            yield from removing_tree(self.stage.fd(), staged)

    def keep(self, staged: bytes) -> None:
        """Let something stay on the stage, for its inode number, until the union is closed."""
        self.kept.add(staged)

    # Private xattrs.

    def set_private(self, item: HostObject, key: bytes, value: bytes) -> None:
        """Set `overlay.KEY` on a directory or regular file of the upper."""
        inodes.set_xattr(item, self.prefix + key, value)

    def remove_private(self, item: HostObject, key: bytes) -> None:
        """Remove `overlay.KEY`, which is there."""
        inodes.remove_xattr(item, self.prefix + key)

    def set_opaque(self, directory: HostDirectory) -> None:
        """Let nothing below merge with a directory."""
        self.set_private(directory, b"opaque", b"y")

    def set_origin(self, item: HostObject, origin: bytes) -> bool:
        """Let a copy say what it is of; False where it cannot: `user.` is not for links, devices.

        Source: fs/overlayfs/copy_up.c, ovl_set_origin_fh.
        """
        if not self.takes_xattrs:
            return False
        try:
            self.set_private(item, b"origin", origin)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            return False
        return True

    def set_impure(self, directory: HostDirectory) -> None:
        """Let a directory say that there are copies in it."""
        if not self.takes_xattrs:
            return
        try:
            self.set_private(directory, b"impure", b"y")
        except PermissionError:
            # Its owner's mode counts for `user.` xattrs, and may be anything. One that may only be
            # appended to takes copies, and their numbers are others at the next mount.
            with suppress(PermissionError), _writable_by_owner(directory.fd(), b"."):
                self.set_private(directory, b"impure", b"y")


def _put_times_back(directory: HostDirectory, times: os.stat_result) -> None:
    """Set them where that is allowed: what is in place is in place, whatever its directory says.

    The kernel's is done as well as can be, too (fs/overlayfs/copy_up.c, ovl_copy_up_tmpfile).
    """
    with suppress(OSError):
        _set_times(directory, times)


def _set_times(directory: HostDirectory, times: os.stat_result) -> None:
    try:
        os.utime(directory.fd(), ns=(times.st_atime_ns, times.st_mtime_ns))
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        # A descriptor that is good for names only: its owner may not list it.
        inodes.set_times(directory, times.st_atime_ns, times.st_mtime_ns)


def rename_as_owner(
    old_directory: HostDirectory,
    old: bytes,
    new_directory: HostDirectory,
    new: bytes,
    flags: int,
) -> None:
    """Rename in the upper, also where a directory's own permissions stand against it.

    Copying up changes nothing that users see, so it asks nobody's permission; but who serves
    without privilege must be able to write the directories it renames in, and one that it moves
    (fs/namei.c, vfs_rename). For that moment their owner is.
    """
    (old_fd, new_fd) = (old_directory.fd(), new_directory.fd())
    _as_owner(
        lambda: files.rename(old_fd, old, new_fd, new, flags),
        [(old_fd, b"."), (old_fd, old), (new_fd, b"."), (new_fd, new)],
    )


def _as_owner(call: Callable[[], None], directories: list[tuple[int, bytes]]) -> None:
    """Make a call that the modes of directories of ours may forbid.

    Where users may have no namespace, the directories are ours to write for that moment: a kill
    in it leaves them so.
    """
    try:
        call()
    except PermissionError as refusal:
        if refusal.errno != errno.EACCES:
            raise
        try:
            do_as_owner(refusal, call)
        except PermissionError:
            with ExitStack() as back:
                for dir_fd, name in directories:
                    back.enter_context(_writable_by_owner(dir_fd, name))
                call()


@contextmanager
def _writable_by_owner(dir_fd: int, name: bytes) -> Iterator[None]:
    """Let a directory's owner write it meanwhile, wherever it goes; all else is left alone."""
    try:
        fd = os.open(name, _OPEN | os.O_PATH | os.O_NOFOLLOW, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        yield
        return
    itself, mode = b"/proc/self/fd/%d" % fd, stat.S_IMODE(os.fstat(fd).st_mode)
    try:
        os.chmod(itself, mode | stat.S_IRWXU)
        try:
            yield
        finally:
            os.chmod(itself, mode)
    finally:
        os.close(fd)


def _in_one_mount(one_fd: int, other_fd: int) -> bool:
    """Whether files can be renamed from one directory to the other; no name is looked up.

    The kernel compares the mounts before it refuses "." (fs/namei.c, do_renameat2).
    """
    try:
        files.rename(one_fd, b".", other_fd, b".", 0)
    except OSError as error:
        return error.errno != errno.EXDEV
    return True


def _is_private(fd: int) -> bool:
    status = os.fstat(fd)
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _inherit_nothing(stage_fd: int) -> None:
    """What is staged gets its group and ACLs from us, not from where the workdir happens to be."""
    os.fchmod(stage_fd, 0o700)
    try:
        os.removexattr(stage_fd, "system.posix_acl_default")
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
