"""What libfuse and pyfuse3 complain of, without what means no more than that the mount is gone.

With a mount the kernel gives up the requests that nobody waits for. A RELEASE is one: its file is
closed and does not keep the mount busy. Whoever is at it then fails (fs/fuse/dev.c):

| At                           | Fails with   | libfuse                 | pyfuse3        |
|------------------------------|--------------|-------------------------|----------------|
| answering (fuse_dev_do_write)| ENOENT       | says nothing            | logs an error  |
| reading (fuse_dev_do_read)   | ECONNABORTED | prints it to C's stderr | raises OSError |

The first happens to an interrupted request as well. The second was met by 9 of 1,000 unmounts right
after close(2), on two busy processors.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import c_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_PIPE_BYTES = 1 << 16  # all that a pipe holds: pipe(7)
_PYFUSE3 = logging.getLogger("pyfuse3")
# Of every request, handlers.pxi: "fuse_release(): fuse_reply_* failed with %s", strerror.
_FAILED_REPLY = "fuse_reply_* failed with %s"
# lib/fuse_lowlevel.c, fuse_session_receive_buf_int: perror().
_FAILED_READ = f"fuse: reading device: {os.strerror(errno.ECONNABORTED)}"


@contextmanager
def of_what_matters() -> Iterator[None]:
    """Serve a session inside; its end by ECONNABORTED is one as good as any.

    What libfuse prints is logged when it is over, and lost where that is more than a pipe holds.
    """
    _PYFUSE3.addFilter(_matters)
    try:
        with _libfuse_heard():
            try:
                yield
            except* ConnectionAbortedError:
                log.debug("the mount went away while a request was read")
    finally:
        _PYFUSE3.removeFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    is_failed_reply = isinstance(record.msg, str) and record.msg.endswith(_FAILED_REPLY)
    return not (is_failed_reply and record.args == (os.strerror(errno.ENOENT),))


@contextmanager
def _libfuse_heard() -> Iterator[None]:
    # Non-blocking: a full pipe must not hold up the session.
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            with c_stderr.redirected(writer):
                yield
        finally:
            os.close(writer)
            for line in os.read(reader, _PIPE_BYTES).decode(errors="replace").splitlines():
                if line != _FAILED_READ:
                    log.warning("libfuse: %s", line)
    finally:
        os.close(reader)
