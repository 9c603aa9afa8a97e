"""Running commands as an ordinary user: plainly, or as the root of a user namespace."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.processes import CommandFailed, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# nobody: owns nothing of this machine, yet has the name without which fusermount3 refuses.
USER = 65534
FIRST_SUBORDINATE = 200_000  # outside, for the id 1 inside

# Waits until somebody with the right to do so has written the maps; the exec after that is what
# makes the process root inside (user_namespaces(7), "Capabilities").
WAIT_FOR_MAPS = 'echo ready; read go; exec "$@"'

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def as_user(argv: Sequence[Word]) -> list[str]:
    """Return the command line that runs `argv` as the ordinary user, without any capability."""
    drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return [*drop, *map(os.fspath, argv)]


@dataclass(frozen=True, slots=True)
class IdRange:
    """`length` ids from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    length: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.length}\n"


ONLY_ROOT = (IdRange(0, USER, 1),)  # what `unshare -Urm` sets up by itself
# What newuidmap sets up from an ordinary /etc/subuid; written here with root's right to do so, as
# the tests leave that file alone.
ROOT_AND_SUBORDINATES = (*ONLY_ROOT, IdRange(1, FIRST_SUBORDINATE, 65_535))


def in_user_namespace(
    argv: Sequence[Word], ids: tuple[IdRange, ...], *, timeout: float = 60
) -> str:
    """Run a command as root of a new user and mount namespace and return its stdout."""
    unshare = ["unshare", "--user", "--mount", "sh", "-c", WAIT_FOR_MAPS, "sh", *argv]
    process = subprocess.Popen(
        as_user(unshare),
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        text = "".join(map(str, ids))
        for table in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{table}").write_text(text)
        try:
            out, err = process.communicate("go\n", timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if process.returncode:
        raise CommandFailed(subprocess.CompletedProcess(argv, process.returncode, out, err))
    return out


@contextmanager
def device_for_everybody() -> Iterator[None]:
    """Open /dev/fuse to all, as udev does on an ordinary system, and put its mode back."""
    device = Path("/dev/fuse")
    mode = stat.S_IMODE(device.stat().st_mode)
    device.chmod(0o666)
    try:
        yield
    finally:
        device.chmod(mode)
