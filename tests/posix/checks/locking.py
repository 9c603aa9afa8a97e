"""flock(2) and fcntl(2) locks between processes."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

from tests.posix.descriptors import opened, overwrite
from tests.posix.expecting import refused
from tests.posix.processes import Child, in_child
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_TRY = fcntl.LOCK_NB
_FLOCK = struct.Struct("hhqqi4x")  # type, whence, start, length, pid


def _flock(path: Path, how: int) -> None:
    with opened(path) as descriptor:
        fcntl.flock(descriptor, how | _TRY)


def _lockf(path: Path, how: int, length: int = 0, start: int = 0) -> None:
    with opened(path, os.O_RDWR) as descriptor:
        fcntl.lockf(descriptor, how | _TRY, length, start)


@check()
def an_exclusive_flock_keeps_others_out(root: Path) -> None:
    with opened(root / "file") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for how in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            with refused(errno.EWOULDBLOCK):
                in_child(lambda how=how: _flock(root / "file", how))
    in_child(lambda: _flock(root / "file", fcntl.LOCK_EX))


@check()
def shared_flocks_go_together(root: Path) -> None:
    with opened(root / "file") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        in_child(lambda: _flock(root / "file", fcntl.LOCK_SH))
        with refused(errno.EWOULDBLOCK):
            in_child(lambda: _flock(root / "file", fcntl.LOCK_EX))


@check()
def two_opens_of_one_process_flock_against_each_other(root: Path) -> None:
    with opened(root / "file") as one, opened(root / "file") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        with refused(errno.EWOULDBLOCK):
            fcntl.flock(other, fcntl.LOCK_EX | _TRY)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(other, fcntl.LOCK_EX | _TRY)


@check()
def a_directory_is_flocked(root: Path) -> None:
    with opened(root / "dir") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with refused(errno.EWOULDBLOCK):
            in_child(lambda: _flock(root / "dir", fcntl.LOCK_SH))


@check()
def hard_links_share_a_flock(root: Path) -> None:
    with opened(root / "first") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with refused(errno.EWOULDBLOCK):
            in_child(lambda: _flock(root / "second", fcntl.LOCK_EX))


@check()
def a_flock_holds_while_the_file_is_written(root: Path) -> None:
    with opened(root / "file") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        overwrite(root / "file", b"x")
        os.chmod(root / "file", 0o600)
        with refused(errno.EWOULDBLOCK):
            in_child(lambda: _flock(root / "file", fcntl.LOCK_EX))


@check()
def a_waiting_flock_is_granted_when_the_holder_leaves(root: Path) -> None:
    def wait() -> str:
        with opened(root / "file") as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return "granted"

    with opened(root / "file") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        waiting = Child(wait)
        # Not by closing: the child has a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    assert waiting.result() == "granted"


@check()
def a_record_lock_keeps_others_out_of_its_range(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 10, 100)
        with refused(errno.EAGAIN, errno.EACCES):
            in_child(lambda: _lockf(root / "file", fcntl.LOCK_EX, 5, 105))
        in_child(lambda: _lockf(root / "file", fcntl.LOCK_EX, 5, 110))
        in_child(lambda: _lockf(root / "file", fcntl.LOCK_EX, 100, 0))


@check()
def shared_record_locks_go_together(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_SH)
        in_child(lambda: _lockf(root / "file", fcntl.LOCK_SH))
        with refused(errno.EAGAIN, errno.EACCES):
            in_child(lambda: _lockf(root / "file", fcntl.LOCK_EX))


@check()
def closing_any_descriptor_drops_the_record_locks(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        with opened(root / "file"):
            pass
        in_child(lambda: _lockf(root / "file", fcntl.LOCK_EX))


@check()
def the_holder_of_a_record_lock_is_named(root: Path) -> None:
    def ask() -> tuple[int, ...]:
        wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        with opened(root / "file", os.O_RDWR) as descriptor:
            return _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, wish))

    with opened(root / "file", os.O_RDWR) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 7, 3)
        kind, _, start, length, pid = in_child(ask)
    assert (kind, start, length, pid) == (fcntl.F_WRLCK, 3, 7, os.getpid())


@check()
def a_record_lock_holds_while_the_file_is_written(root: Path) -> None:
    with opened(root / "file") as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_SH)
        in_child(lambda: overwrite(root / "file", b"x"))
        with refused(errno.EAGAIN, errno.EACCES):
            in_child(lambda: _lockf(root / "file", fcntl.LOCK_EX))


@check()
def a_lock_of_an_open_file_description_is_shared_by_its_copies(root: Path) -> None:
    wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with opened(root / "file", os.O_RDWR) as one, opened(root / "file", os.O_RDWR) as other:
        fcntl.fcntl(one, fcntl.F_OFD_SETLK, wish)
        in_child(lambda: fcntl.fcntl(one, fcntl.F_OFD_SETLK, wish) and None)
        with refused(errno.EAGAIN, errno.EACCES):
            fcntl.fcntl(other, fcntl.F_OFD_SETLK, wish)


@check()
def a_write_lock_takes_a_descriptor_for_writing(root: Path) -> None:
    with opened(root / "file") as descriptor, refused(errno.EBADF):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | _TRY)
