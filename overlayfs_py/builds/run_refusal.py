"""Why the command of a RUN cannot run here, in words that say what helps."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.containers import chroot_needs, user_namespace
from overlayfs_py.containers.trial_mount import Way, try_mount
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = "a container needs --device /dev/fuse (docker: and --security-opt seccomp=unconfined)"


@contextmanager
def explaining(directory: bytes) -> Iterator[None]:
    """Say of a failure that comes of it that nothing can be mounted here.

    `directory` is where commands would run by `--isolation chroot`.
    """
    # Before: this process may become root of a user namespace, which is root of nothing else.
    otherwise = chroot_needs.why_not(directory)
    try:
        yield
    except OSError as error:
        reason = _why_no_mount(directory)
        if reason is None:
            raise
        instead = "--isolation chroot does without"
        if otherwise is not None:
            instead = f"--isolation chroot would do without, but {otherwise}"
        why = f"nothing can be mounted here ({reason}): {_NEEDED}; {instead}"
        raise BuildFailure("RUN", why) from error


def _why_no_mount(directory: bytes) -> str | None:
    way = Way.AS_THIS_USER if user_namespace.may_mount() else Way.USER_NAMESPACE
    try:
        try_mount(way, directory)
    except Failure as failure:
        return str(failure).partition(";")[0]
    return None
