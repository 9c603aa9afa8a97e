"""The state machine as root of a user namespace: run as a module, with DRIVER and LOWERS.

The ids 0 to 65535 inside are 100000 to 165535 outside, so nothing that runs here has a right over
the files of the real root.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

from overlayfs_py.syscalls.mounts import MS_PRIVATE, MS_REC, mount
from overlayfs_py.syscalls.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    IdExtent,
    format_extents,
    unshare,
)
from tests.oracle import parties, profiles
from tests.oracle.warm import WarmDaemons
from tests.support.lowers import as_packs

_IDS = format_extents([IdExtent(0, 100_000, 65_536)])
_PART = 5  # of the examples: the rules are the same, the rights are not


def main(driver: str, lowers: str) -> int:
    """Run as the namespace's root in a child; the parent, outside, writes the id maps."""
    unshared, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            unshare(CLONE_NEWUSER | CLONE_NEWNS)
            os.write(unshared[1], b".")
            os.read(mapped[0], 1)
            _run(driver, lowers)
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(1)
        os._exit(0)
    os.read(unshared[0], 1)
    for table in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{table}", "w") as file:
            file.write(_IDS)
    os.write(mapped[1], b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(driver: str, lowers: str) -> None:
    os.setgroups([])
    os.setgid(0)
    os.setuid(0)
    mount(None, b"/", None, MS_REC | MS_PRIVATE)
    with as_packs() if lowers == "packs" else nullcontext(), WarmDaemons() as daemons:
        profiles.run(parties.in_user_namespace(daemons, driver), part=_PART)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
