"""Which method answers which request, and what becomes of a change that takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from overlayfs_py.union.steps import NeedsSteps
from overlayfs_py.wire import requests
from overlayfs_py.wire.protocol import Opcode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from overlayfs_py.drivers.direct_operations import DirectOperations
    from overlayfs_py.drivers.direct_shared import Answer
    from overlayfs_py.wire.requests import Body, Header

    Handler = Callable[[Header, Body], Answer]

_METHODS = {
    Opcode.OPEN: "open",  # only where the kernel is to ask at every open
    Opcode.LOOKUP: "lookup",
    Opcode.GETATTR: "getattr",
    Opcode.SETATTR: "setattr",
    Opcode.READLINK: "readlink",
    Opcode.SYMLINK: "symlink",
    Opcode.MKNOD: "mknod",
    Opcode.MKDIR: "mkdir",
    Opcode.UNLINK: "unlink",
    Opcode.RMDIR: "rmdir",
    Opcode.RENAME: "rename",
    Opcode.RENAME2: "rename",
    Opcode.LINK: "link",
    Opcode.READ: "read",
    Opcode.WRITE: "write",
    Opcode.STATFS: "statfs",
    Opcode.RELEASE: "release",
    Opcode.RELEASEDIR: "release",
    Opcode.FSYNC: "fsync",
    Opcode.FSYNCDIR: "fsync",
    Opcode.SETXATTR: "setxattr",
    Opcode.GETXATTR: "getxattr",
    Opcode.LISTXATTR: "listxattr",
    Opcode.REMOVEXATTR: "removexattr",
    Opcode.CREATE: "create",
    Opcode.TMPFILE: "tmpfile",
    Opcode.FALLOCATE: "fallocate",
    Opcode.READDIR: "readdir",
    Opcode.READDIRPLUS: "readdirplus",
    Opcode.LSEEK: "lseek",
    Opcode.COPY_FILE_RANGE: "copy_file_range",
    Opcode.IOCTL: "ioctl",
    Opcode.STATX: "statx",
}
_AT_ONCE = (bytes, memoryview, int)  # an answer that is there; to ask for an Awaitable is a call
# Which copy directories up.
_CHANGES = frozenset(
    {
        *(Opcode.SETATTR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.UNLINK, Opcode.RMDIR),
        *(Opcode.RENAME, Opcode.RENAME2, Opcode.LINK, Opcode.WRITE, Opcode.SETXATTR),
        *(Opcode.REMOVEXATTR, Opcode.CREATE, Opcode.TMPFILE, Opcode.FALLOCATE),
        *(Opcode.COPY_FILE_RANGE, Opcode.IOCTL),
    }
)


def handlers_of(operations: DirectOperations) -> dict[int, Handler]:
    """Return, by opcode, the methods that answer; what has none is refused for good."""
    handlers: dict[int, Handler] = {
        opcode: getattr(operations, method)
        for opcode, method in _METHODS.items()
        if hasattr(operations, method)
    }
    changes = {opcode for opcode in handlers if opcode in _CHANGES}
    return handlers | {opcode: _in_steps(operations, handlers[opcode]) for opcode in changes}


def _in_steps(operations: DirectOperations, handler: Handler) -> Handler:
    """The handler of a change that may need steps first; it is asked again after them."""

    def begin(header: Header, body: Body) -> Answer:
        try:
            answer = handler(header, body)
        except NeedsSteps as needed:
            # The buffer belongs to the next request by the time the steps are taken.
            kept = body._replace(data=memoryview(bytes(body.data))) if _has_data(body) else body
            return operations.after_steps(needed, handler, header, kept)
        return answer if isinstance(answer, _AT_ONCE) else finish(header, body, answer)

    async def finish(header: Header, body: Body, answer: Awaitable[bytes]) -> bytes:
        try:
            return await answer
        except NeedsSteps as needed:
            if _has_data(body):  # which is another request's by now; never so, see `CopyUps`
                raise
            return await operations.after_steps(needed, handler, header, body)

    return begin


def _has_data(body: Body) -> TypeGuard[requests.Write]:
    return isinstance(body, requests.Write)
