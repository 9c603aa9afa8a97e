"""The ioctls of /dev/fuse: registering the files that the kernel reads and writes by itself.

Source: include/uapi/linux/fuse.h, FUSE_DEV_IOC_BACKING_OPEN (Linux 6.9; CAP_SYS_ADMIN).
"""

from __future__ import annotations

import fcntl
import struct

_BACKING_OPEN = 0x4010E501  # _IOW(229, 1, struct fuse_backing_map)
_BACKING_CLOSE = 0x4004E502  # _IOW(229, 2, uint32_t)
_MAP = struct.Struct("=iIQ")  # fd, flags, padding
_ID = struct.Struct("=I")


def open_backing(device_fd: int, fd: int) -> int:
    """Register an open file; returns its id, which stays valid after `fd` is closed."""
    # A mutable buffer makes fcntl return what the ioctl does, the id, instead of the buffer.
    return int(fcntl.ioctl(device_fd, _BACKING_OPEN, bytearray(_MAP.pack(fd, 0, 0))))


def close_backing(device_fd: int, backing: int) -> None:
    """Give an id back; opens that it answered keep the file."""
    fcntl.ioctl(device_fd, _BACKING_CLOSE, _ID.pack(backing))
