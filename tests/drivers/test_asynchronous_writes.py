"""O_DIRECT and io_submit(2): what the kernel has cached under a write is dropped after it."""

from __future__ import annotations

import mmap
import os
import select
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.support import aio

if TYPE_CHECKING:
    from tests.drivers.serving import Daemon

_TIMEOUT_S = 10
_MOMENT_S = 0.3


def test_a_write_is_done_when_it_is_submitted(daemon: Daemon) -> None:
    """Else the kernel drops no page that somebody reads in between: fs/fuse/file.c, ASYNC_DIO."""
    file = daemon.target / "file"
    file.write_bytes(bytes(8192))
    fd = os.open(file, os.O_RDWR | os.O_DIRECT)
    submitted, teller = os.pipe()

    def write() -> None:
        with mmap.mmap(-1, 4096) as data, aio.queue() as queue:
            data[:] = b"x" * 4096
            with memoryview(data) as buffer:
                queue.submit(aio.PWRITE, fd, buffer, 0)
                os.write(teller, b".")
                assert queue.finish() == 4096

    with ThreadPoolExecutor() as pool:
        daemon.signal(signal.SIGSTOP)
        try:
            writing = pool.submit(write)
            early = select.select([submitted], [], [], _MOMENT_S)[0]
        finally:
            daemon.signal(signal.SIGCONT)
        writing.result(_TIMEOUT_S)
    for used in (fd, submitted, teller):
        os.close(used)
    assert not early
    assert file.read_bytes() == b"x" * 4096 + bytes(4096)
