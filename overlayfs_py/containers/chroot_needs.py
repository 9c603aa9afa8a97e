"""What root of a container needs to run a command in a directory, where nothing can be mounted."""

from __future__ import annotations

import os
import stat
import tempfile

from overlayfs_py.containers import capabilities
from overlayfs_py.errors import Failure
from overlayfs_py.syscalls.credentials import effective_capabilities

# Docker's own set has them all. Owners, modes and capabilities of files are made as an image has
# them; the command gets other ids and fewer rights, and what it leaves behind is ended.
_NEEDED = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("SYS_CHROOT", "MKNOD", "SETFCAP"),
)
_FEW = 3  # are named
_NULL = os.makedev(1, 3)


def require(directory: bytes) -> None:
    """See to it that commands can be run below a directory.

    Raises:
        Failure: what is missing, and what helps.
    """
    reason = why_not(directory)
    if reason is not None:
        raise Failure(f"--isolation chroot: {reason}")


def why_not(directory: bytes) -> str | None:
    """Why commands cannot be run below a directory, and what helps; None where they can."""
    if os.geteuid() != 0:
        return "only root can change its root directory: run the container as root"
    effective = effective_capabilities()
    missing = [name for name in _NEEDED if not effective >> capabilities.number_of(name) & 1]
    if len(missing) > _FEW:
        return "root has few capabilities here: give the container docker's own"
    if missing:
        options = " ".join(f"--cap-add {name}" for name in missing)
        return f"root lacks {', '.join(missing)} here: give the container {options}"
    return _why_no_devices(directory)


def _why_no_devices(directory: bytes) -> str | None:
    """Try it: a filesystem may forbid devices, and so may a user namespace or a device cgroup."""
    with tempfile.TemporaryDirectory(dir=directory) as own:
        null = os.path.join(own, b"null")
        try:
            os.mknod(null, stat.S_IFCHR | 0o600, _NULL)
            os.close(os.open(null, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return (
                f"/dev/null cannot be made in {os.fsdecode(directory)}: {error.strerror}: devices"
                " need a filesystem without nodev, and root of no user namespace"
            )
    return None
