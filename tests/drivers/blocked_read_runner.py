"""Serve with pyfuse3 and copy-ups that wait for `GO`; from the file `WITHDRAW` on it reads in vain.

As where the one request that it was woken for is withdrawn before it is read.
"""

from __future__ import annotations

import os

import trio

from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.packs.reader import PackReader
from tests.drivers.held_runner import hold
from tests.drivers.runner import main

wait_readable = trio.lowlevel.wait_readable


def is_withdrawn() -> bool:
    return os.path.exists(os.environ["WITHDRAW"])


async def wait_readable_or_say_so(fd: int) -> None:
    if not os.readlink(f"/proc/self/fd/{fd}").endswith("/fuse"):
        await wait_readable(fd)
        return
    readable = False
    while not readable and not is_withdrawn():
        with trio.move_on_after(0.01):
            await wait_readable(fd)
            readable = True


if __name__ == "__main__":
    trio.lowlevel.wait_readable = wait_readable_or_say_so
    hold(DescriptorReader)
    hold(PackReader)
    main()
