"""What `mount -d` logs of the pyfuse3 driver: each request, its answer, and the time between."""

from __future__ import annotations

import inspect
import logging
import time
from typing import TYPE_CHECKING, Any

import pyfuse3

from overlayfs_py.drivers.trace_lines import Asked, described

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import CodeType

    Handler = Callable[..., Coroutine[Any, Any, object]]

log = logging.getLogger(__name__)

_REQUESTS = (
    *("lookup", "forget", "getattr", "setattr", "readlink", "mknod", "mkdir", "symlink", "link"),
    *("unlink", "rmdir", "rename", "open", "create", "read", "write", "fsync", "release"),
    *("opendir", "readdir", "fsyncdir", "releasedir", "getxattr", "listxattr", "setxattr"),
    *("removexattr", "statfs"),
)


def trace(operations: pyfuse3.Operations) -> None:
    """Log what `operations` is asked from now on."""
    for name in _REQUESTS:
        setattr(operations, name, _traced(name, getattr(operations, name)))


def _traced(request: str, handler: Handler) -> Handler:
    names = parameters_of(handler)

    async def traced(*arguments: object) -> object:
        fields = dict(zip(names, map(_plain, arguments), strict=True))
        context = fields.pop("ctx", None)
        if isinstance(context, pyfuse3.RequestContext):
            fields |= {"uid": context.uid, "pid": context.pid}
        asked = Asked(described(request, fields), time.perf_counter_ns())
        try:
            answer = await handler(*arguments)
        except pyfuse3.FUSEError as error:
            log.debug("%s", asked.answered(error.errno))
            raise
        log.debug("%s", asked.answered(0, _told(answer)))
        return answer

    return traced


def parameters_of(handler: Callable[..., object]) -> tuple[str, ...]:
    """The names of what a handler is asked with; lanes wrap what is wrapped already."""
    code: CodeType = inspect.unwrap(handler).__code__
    return code.co_varnames[1 : code.co_argcount]  # without self


def _told(answer: object) -> str:
    if isinstance(answer, bytes):
        return f"{len(answer)} bytes"
    is_absent = isinstance(answer, pyfuse3.EntryAttributes) and answer.st_ino == 0
    return "absent" if is_absent else "done"


def _plain(argument: object) -> object:
    """What says something in a log: data is many bytes, pyfuse3's structures are addresses."""
    if isinstance(argument, bytes | int | str | pyfuse3.RequestContext):
        return argument
    return f"<{type(argument).__name__}>"
