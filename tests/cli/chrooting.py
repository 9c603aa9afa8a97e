"""Running commands with `overlayfs-py chroot`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Chroot = Callable[..., subprocess.CompletedProcess[str]]


def shell(chroot: Chroot, steps: str, *options: object) -> list[str]:
    """Run a script inside; it must succeed and say nothing on stderr. Returns its lines."""
    done = chroot(*options, "--", "sh", "-ec", steps)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
