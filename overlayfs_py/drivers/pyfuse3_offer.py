"""Keep from libfuse what the kernel offers and would cost data: libfuse agrees to all it knows.

libfuse reads the offer, INIT, from a pipe in the device's place, without the harmful flags, and
writes its answer to the device, which is back by then: pyfuse3 calls its handlers' `init` in
between.
"""

from __future__ import annotations

import errno
import os

from overlayfs_py.wire.protocol import HEADER_ROOM
from overlayfs_py.wire.session import harmless


class Offer:
    """The kernel's first message on `fd`, which is a pipe until `taken` is called."""

    def __init__(self, fd: int, *, foreign_changes: bool) -> None:
        self._fd = fd
        self._device: int | None = None
        try:
            offer = os.read(fd, HEADER_ROOM + (1 << 17))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return  # unmounted already, as libfuse will find out
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.write(writer, harmless(offer, foreign_changes=foreign_changes))
        os.close(writer)
        self._device = os.dup(fd)
        os.dup2(reader, fd, inheritable=False)
        os.close(reader)

    def taken(self) -> None:
        """Put the device back: its first message has been read."""
        if self._device is not None:
            os.dup2(self._device, self._fd, inheritable=False)
        self.close()

    def close(self) -> None:
        """Let go of the device; where nothing was taken, `fd` never was one."""
        if self._device is not None:
            os.close(self._device)
            self._device = None
