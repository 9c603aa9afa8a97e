"""What an inode is, over and above its number: name_to_handle_at(2)."""

from __future__ import annotations

import errno
import struct

from overlayfs_py.syscalls.libc import CBytes, CInt, function, out_buffer

_AT_EMPTY_PATH = 0x1000
_AT_HANDLE_FID = 0x200  # Linux 6.5: to tell inodes apart, of filesystems that open none by it
_MOST_BYTES = 128  # linux/fs.h, MAX_HANDLE_SZ
_HEAD = struct.Struct("=Ii")  # handle_bytes, handle_type

_name_to_handle_at = function("name_to_handle_at", CInt, CBytes, CBytes, CBytes, CInt)


def handle_of(fd: int) -> bytes | None:
    """Return what tells an inode from any other of its filesystem, removed ones among them.

    None where the filesystem cannot say. `fd` may be one of O_PATH.
    """
    for flags in (_AT_EMPTY_PATH | _AT_HANDLE_FID, _AT_EMPTY_PATH):
        handle = out_buffer(_HEAD.size + _MOST_BYTES)
        _HEAD.pack_into(handle, 0, _MOST_BYTES, 0)
        try:
            _name_to_handle_at(fd, b"", handle, out_buffer(4), flags)
        except OSError as error:
            if error.errno == errno.EINVAL:  # an older kernel
                continue
            if error.errno in (errno.EOPNOTSUPP, errno.EOVERFLOW, errno.ENOSYS, errno.EPERM):
                return None
            raise
        size, _ = _HEAD.unpack_from(handle.raw)
        return handle.raw[: _HEAD.size + size]
    return None
