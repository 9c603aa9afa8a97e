"""Keep pyfuse3's log to what somebody must know: a reply that nobody waits for is none of it."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGER = logging.getLogger("pyfuse3")
# Of every request, handlers.pxi: "fuse_release(): fuse_reply_* failed with %s", strerror.
_FAILED_REPLY = "fuse_reply_* failed with %s"


@contextmanager
def unwanted_replies_unreported() -> Iterator[None]:
    """Log no reply that fails with ENOENT: the kernel has given the request up.

    It does so to what is interrupted, and to all that is unanswered when the mount goes away: a
    RELEASE has no asker who would keep the mount busy (fs/fuse/dev.c, fuse_abort_conn). libfuse
    leaves it unreported too (lib/fuse_lowlevel.c, fuse_send_msg), pyfuse3 calls it an error.
    """
    _LOGGER.addFilter(_matters)
    try:
        yield
    finally:
        _LOGGER.removeFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    is_failed_reply = isinstance(record.msg, str) and record.msg.endswith(_FAILED_REPLY)
    return not (is_failed_reply and record.args == (os.strerror(errno.ENOENT),))
