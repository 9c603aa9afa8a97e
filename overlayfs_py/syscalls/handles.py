"""What an inode is, over and above its number: name_to_handle_at(2), and its filesystem."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from overlayfs_py.syscalls.libc import CBytes, CInt, function, out_buffer

_AT_EMPTY_PATH = 0x1000
_AT_HANDLE_FID = 0x200  # Linux 6.5: to tell inodes apart, of filesystems that open none by it
_MOST_BYTES = 128  # linux/fs.h, MAX_HANDLE_SZ
_HEAD = struct.Struct("=Ii")  # handle_bytes, handle_type
_NO_HANDLE = (errno.EOPNOTSUPP, errno.EOVERFLOW, errno.ENOSYS, errno.EPERM)
# linux/fs.h: _IOR(0x15, 0, struct fsuuid2), a length and 16 bytes (Linux 6.9).
_FS_IOC_GETFSUUID = 0x80111500
_UUID = struct.Struct("=B16s")

_name_to_handle_at = function("name_to_handle_at", CInt, CBytes, CBytes, CBytes, CInt)
_open_by_handle_at = function("open_by_handle_at", CInt, CBytes, CInt)


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
            if error.errno in _NO_HANDLE:
                return None
            raise
        size, _ = _HEAD.unpack_from(handle.raw)
        return handle.raw[: _HEAD.size + size]
    return None


def file_handle_of(dir_fd: int, name: bytes) -> tuple[int, bytes] | None:
    """Return the type and the bytes of a handle that leads to `name`, itself even if it is a link.

    None where the filesystem opens none by it.
    """
    handle = out_buffer(_HEAD.size + _MOST_BYTES)
    _HEAD.pack_into(handle, 0, _MOST_BYTES, 0)
    try:
        _name_to_handle_at(dir_fd, name, handle, out_buffer(4), 0)
    except OSError as error:
        if error.errno in _NO_HANDLE:
            return None
        raise
    size, kind = _HEAD.unpack_from(handle)
    return kind, handle.raw[_HEAD.size : _HEAD.size + size]


def links_of(fd: int, kind: int, handle: bytes) -> int | None:
    """Return how many links an inode has, by its handle on the filesystem that `fd` is on.

    None where it is gone, or may not be looked for: that takes CAP_DAC_READ_SEARCH.
    """
    given = out_buffer(_HEAD.size + len(handle))
    _HEAD.pack_into(given, 0, len(handle), kind)
    struct.pack_into(f"{len(handle)}s", given, _HEAD.size, handle)
    try:
        inode_fd = _open_by_handle_at(fd, given, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.fstat(inode_fd).st_nlink
    finally:
        os.close(inode_fd)


def filesystem_uuid(fd: int) -> bytes | None:
    """Return the UUID of the filesystem that `fd` is on; None where it or the kernel has none."""
    answer = bytearray(_UUID.size)
    try:
        fcntl.ioctl(fd, _FS_IOC_GETFSUUID, answer)
    except OSError:
        return None  # ENOTTY of most, ENOSYS and EINVAL of FUSE's
    size, uuid = _UUID.unpack(answer)
    return bytes(uuid) if size == _UUID.size - 1 else None
