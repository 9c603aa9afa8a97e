"""Serve with pyfuse3; RELEASE waits for a word from the FIFO named by the environment's `GO`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from overlayfs_py.drivers.pyfuse3_operations import UnionOperations
from tests.drivers.runner import main

if TYPE_CHECKING:
    from pyfuse3 import FileHandleT

_DEADLINE_S = 30


async def release_when_told(_: UnionOperations, fh: FileHandleT) -> None:
    reader = os.open(os.environ["GO"], os.O_RDONLY | os.O_NONBLOCK)
    with trio.fail_after(_DEADLINE_S):
        await trio.lowlevel.wait_readable(reader)
    os.close(reader)


if __name__ == "__main__":
    UnionOperations.release = release_when_told
    main()
