"""What the owner of a file may do although its mode forbids it, without changing the mode.

An ordinary user who owns a file of mode 0111 could take the right to read it, for a moment. In a
layer that would be a change of the layer, and in the upper a kill would leave it so. The root of a
user namespace in which this user alone is mapped has CAP_DAC_OVERRIDE over the user's own files
and nothing else (kernel/capability.c, capable_wrt_inode_uidgid). So where a call is refused, a
child enters such a namespace, which needs no privilege, and makes it there: 2 ms (measured).

Not done here: where users may have no namespace (a container's seccomp filter, AppArmor) the
refusal stands.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

_ERRNO = struct.Struct("=i")
_NO_NAMESPACE = 1  # the child's exit code
_MOST_BYTES = 1 << 16  # the largest value of an xattr (XATTR_SIZE_MAX)


def open_as_owner(refusal: PermissionError, call: Callable[[], int]) -> int:
    """Return the descriptor that `call` opens, the caller's; raises what it raises.

    `refusal` is what it raised with the rights that we have, and stands where there are no others.
    """
    _, descriptors = _made_by_child(refusal, call)
    if not descriptors:
        raise refusal
    return descriptors[0]


def do_as_owner(refusal: PermissionError, call: Callable[[], bytes | None]) -> bytes:
    """Return what `call` returns, b"" for None; as `open_as_owner`."""
    return _made_by_child(refusal, call)[0]


def _made_by_child(
    refusal: PermissionError, call: Callable[[], int | bytes | None]
) -> tuple[bytes, list[int]]:
    if os.geteuid() == 0 or refusal.errno != errno.EACCES:
        raise refusal
    # Loaded already wherever a mount is served: who is not root has mounted by fusermount3.
    import socket

    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = os.fork()
            if pid == 0:
                _be_the_child(theirs, call)
        try:
            return _answer(ours, refusal)
        finally:
            os.waitpid(pid, 0)


def _be_the_child(answers: socket, call: Callable[[], int | bytes | None]) -> None:
    """Make the call and tell; never returns, and runs nothing else of the parent's."""
    try:
        _enter_namespace()
        try:
            result = call()
        except OSError as error:
            answers.sendall(_ERRNO.pack(error.errno or errno.EIO))
        else:
            _tell(answers, result)
    finally:
        os._exit(_NO_NAMESPACE)


def _enter_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    namespaces.unshare(namespaces.CLONE_NEWUSER)
    namespaces.map_to_root(uid, gid)


def _tell(answers: socket, result: int | bytes | None) -> None:
    import socket

    if isinstance(result, int):
        socket.send_fds(answers, [_ERRNO.pack(0)], [result])
    else:
        answers.sendall(_ERRNO.pack(0) + (result or b""))


def _answer(ours: socket, refusal: PermissionError) -> tuple[bytes, list[int]]:
    import socket

    data, descriptors, _, _ = socket.recv_fds(ours, _ERRNO.size + _MOST_BYTES, 1)
    while len(data) < _ERRNO.size + _MOST_BYTES and (more := ours.recv(_MOST_BYTES)):
        data += more
    if len(data) < _ERRNO.size:
        raise refusal  # there was no namespace
    number = _ERRNO.unpack_from(data)[0]
    if number:
        raise OSError(number, os.strerror(number), refusal.filename)
    return data[_ERRNO.size :], descriptors
