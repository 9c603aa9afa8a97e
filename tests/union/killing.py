"""A process that ends after so many system calls that can change a filesystem."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.union.world import World

_OS_CALLS = (
    *("chmod", "chown", "copy_file_range", "fchmod", "ftruncate", "link", "mkdir", "mknod"),
    *("open", "pwrite", "removexattr", "rename", "rmdir", "setxattr", "symlink", "unlink", "utime"),
)
_OPEN = os.open


class _Countdown:
    """Ends the process after so many more calls that can change a filesystem."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def after(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            answer = call(*args, **kwargs)
            if call is _OPEN and not int(args[1]) & os.O_CREAT:
                return answer
            self.left -= 1
            if self.left == 0:
                os._exit(1)
            return answer

        return counted


def killed_after(calls: int, world: World, change: Callable[[World], object]) -> bool:
    """Run a change in a process that dies after so many calls; False where it got through."""
    pid = os.fork()
    if pid == 0:
        countdown = _Countdown(calls)
        for name in _OS_CALLS:
            setattr(os, name, countdown.after(getattr(os, name)))
        files._renameat2 = countdown.after(files._renameat2)
        try:
            change(world)
        finally:
            os._exit(0 if countdown.left > 0 else 2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
