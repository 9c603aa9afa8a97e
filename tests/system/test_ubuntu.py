"""An ordinary user on Ubuntu, whose AppArmor forbids user namespaces, or what they are for.

There is no AppArmor here: a filter of system calls has its effects, and a file its setting.
Sources: Ubuntu's security documentation, "Restricted unprivileged user namespaces"; up to 23.10
unshare(2) is EPERM, since 24.04 it succeeds and what takes capabilities is not allowed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import attempt
from tests.system.unprivileged import as_user, device_for_everybody

if TYPE_CHECKING:
    import subprocess

_SETTING = "apparmor_restrict_unprivileged_userns"
_HELP = f"as root: sysctl -w kernel.{_SETTING}=0"
_FILTER = """
import os, sys
from overlayfs_py.containers.seccomp_profile import ALLOW, ERRNO, Action, Condition, Profile, Rule
from overlayfs_py.containers.seccomp_program import compiled
from overlayfs_py.syscalls import namespaces, seccomp
own = Condition(0, "SCMP_CMP_MASKED_EQ", namespaces.CLONE_NEWUSER, namespaces.CLONE_NEWUSER)
rules = {
    "unshare": Rule(("unshare", "clone"), Action(ERRNO, 1), (own,)),
    "mount": Rule(("mount", "open_tree", "fsopen"), Action(ERRNO, 13)),
}
seccomp.install(compiled(Profile(Action(ALLOW), (rules[sys.argv[1]],))))
os.execvp(sys.argv[2], sys.argv[2:])
"""
_SHOW_SETTING = f"""
mount -t tmpfs tmpfs /mnt
cp /proc/sys/kernel/overflowuid /proc/sys/kernel/cap_last_cap /mnt
echo 1 >/mnt/{_SETTING}
mount --move /mnt /proc/sys/kernel
exec "$@"
"""


def on_ubuntu(forbidden: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "overlayfs-py"), *words]
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _SHOW_SETTING, "sh"]
    filtered = [sys.executable, "-c", _FILTER, forbidden]
    return attempt([*alone, *filtered, *as_user(command)], env={"HOME": "/nonexistent"})


@pytest.mark.parametrize(
    ("forbidden", "why"),
    [
        ("unshare", "user namespace: Operation not permitted"),
        ("mount", "mounting: Permission denied"),
    ],
)
def test_a_user_hears_the_one_command_that_helps(forbidden: str, why: str, scratch: Path) -> None:
    layer = scratch / "layer"
    layer.mkdir()
    for directory in (layer, scratch):
        os.chmod(directory, 0o755)
    with device_for_everybody():
        started = on_ubuntu(forbidden, "chroot", str(layer), "true")
        told = on_ubuntu(forbidden, "doctor", "--json")

    assert started.returncode == 125
    assert started.stderr == f"overlayfs-py: {why}; `overlayfs-py doctor` says what is missing\n"
    found = json.loads(told.stdout)["findings"]
    for subject in ("user-namespaces", "mount-in-user-namespace"):
        assert found[subject]["advice"] == _HELP
    assert found["mount-in-user-namespace"]["words"].endswith(why.rpartition(": ")[2])
