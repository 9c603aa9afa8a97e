"""The checkout, to be entered by everybody: some tests run its programs as an ordinary user."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.mounts import MS_BIND, MS_REC, MS_SLAVE, mount
from overlayfs_py.syscalls.namespaces import CLONE_NEWNS, unshare

if TYPE_CHECKING:
    from pathlib import Path


def show_to_everybody(checkout: Path) -> None:
    """Where a directory above is closed to others, as /root is, go where an open one covers it.

    It is open in a mount namespace of the calling thread, and of what that starts, alone.
    """
    closed = [above for above in checkout.parents if not above.stat().st_mode & stat.S_IXOTH]
    if not closed or os.geteuid():
        return
    here = os.getcwd()
    unshare(CLONE_NEWNS)
    mount(None, b"/", None, MS_REC | MS_SLAVE)
    _cover(closed[-1], checkout)
    os.chdir(here)  # the old one is below the cover


def _cover(directory: Path, checkout: Path) -> None:
    """Mount an empty directory there that has nothing but the checkout, at its old place."""
    kept = os.open(checkout, os.O_PATH | os.O_CLOEXEC)
    mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"mode=755")
    checkout.mkdir(parents=True)
    mount(b"/proc/self/fd/%d" % kept, os.fsencode(checkout), None, MS_BIND | MS_REC)
    os.close(kept)
