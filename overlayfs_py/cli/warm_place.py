"""Where the socket of this user's warm process is, if there is one."""

from __future__ import annotations

import os
import stat

_NAME = "overlayfs-py-warm"
_OWN_MODE = 0o077  # what others may do


def socket_path() -> str | None:
    """The socket of the template of this very installation; None where none can be.

    Nothing that another could have put there is taken for it.
    """
    place = directory()
    try:
        found = os.lstat(place)
    except OSError:
        return None
    if not is_own(found):
        return None
    path = path_in(place)
    return path if os.path.exists(path) else None


def is_own(found: os.stat_result) -> bool:
    """Whether that is a directory of this user's, which nobody else may enter."""
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & _OWN_MODE
    )


def path_in(place: str) -> str:
    """Where the socket of this installation is, in that directory."""
    return f"{place}/{_installation()}"


def directory() -> str:
    """Where this user's sockets are, which may not be there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # A sticky directory, where nobody can put another's away; what is in it is looked at.
    return f"{runtime}/{_NAME}" if runtime.startswith("/") else f"/tmp/{_NAME}-{os.geteuid()}"


def _installation() -> str:
    """A short name for this code, in this environment: a socket's path may have 108 bytes."""
    import sys

    of = (os.stat(sys.prefix), os.stat(os.path.dirname(__file__)))
    return "-".join(f"{each.st_dev:x}.{each.st_ino:x}" for each in of)
