"""Mounts that nobody else sees: a mount namespace of our own while a block runs."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.libc import CInt, function
from overlayfs_py.syscalls.mounts import MS_PRIVATE, MS_REC, mount
from overlayfs_py.syscalls.namespaces import CLONE_NEWNS, unshare

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_FS = 0x00000200  # linux/sched.h

_setns = function("setns", CInt, CInt)


@contextmanager
def private_mounts() -> Iterator[None]:
    """Run the calling thread in a new mount namespace, then bring it back.

    A namespace copied from ours while a kernel overlay is mounted (a container's, a parallel
    test's) would keep that mount after its unmounting, and with index=on the next mount of the
    same upper answers EBUSY.
    """
    directory = os.getcwd()
    home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNS)
        mount(None, b"/", None, MS_REC | MS_PRIVATE)
        yield
    finally:
        # A thread that pytest's faulthandler started meanwhile shares our root and working
        # directory, and then setns(2) answers EINVAL.
        unshare(_CLONE_FS)
        _setns(home, CLONE_NEWNS)
        os.close(home)
        os.chdir(directory)  # setns(2) of a mount namespace goes to its root
