from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import attempt, run
from tests.system.unprivileged import as_user, device_for_everybody

if TYPE_CHECKING:
    from pathlib import Path


def in_private_mounts(steps: str) -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{steps}; exec "$@"']


def test_where_mounting_works_it_says_so(overlayfs_py: Path) -> None:
    shown = run([overlayfs_py, "doctor"])

    assert shown.startswith("Mounting works.\n")
    assert "FUSE protocol 7." in shown


def test_for_programs(overlayfs_py: Path) -> None:
    told = json.loads(run([overlayfs_py, "doctor", "--json"]))

    assert told["works"] is True
    assert set(told["findings"]) == {
        "kernel",
        "device",
        "mount",
        "mount-in-user-namespace",
        "fusermount3",
        "user-namespaces",
        "subordinate-ids",
        "kernel-overlayfs",
        "passthrough",
        "open-files",
        "pyfuse3",
    }
    for finding in told["findings"].values():
        assert finding["state"] in {"ok", "limited", "missing"}
        assert finding["words"]


def test_without_the_device_it_says_what_to_do(overlayfs_py: Path) -> None:
    hide = in_private_mounts("mount -t tmpfs tmpfs /dev")
    done = attempt([*hide, "sh", overlayfs_py, "doctor"])
    told = json.loads(attempt([*hide, "sh", overlayfs_py, "doctor", "--json"]).stdout)

    assert done.returncode == 1
    assert done.stdout.startswith("Mounting does not work yet.\n")
    assert "modprobe fuse" in done.stdout
    assert told["works"] is False
    assert told["findings"]["device"]["state"] == "missing"
    assert told["findings"]["mount"]["state"] == "missing"


def test_a_user_who_may_not_open_the_device_is_told(overlayfs_py: Path) -> None:
    close = in_private_mounts(
        "cp -a /dev/null /tmp; mount -t tmpfs tmpfs /dev; mknod -m 600 /dev/fuse c 10 229;"
        " mv /tmp/null /dev"
    )
    done = attempt([*close, "sh", *as_user([overlayfs_py, "doctor"])])

    assert done.returncode == 1
    assert "chmod 0666 /dev/fuse" in done.stdout


@pytest.mark.parametrize("program", ["fusermount3"])
def test_a_missing_program_is_a_package_to_install(overlayfs_py: Path, program: str) -> None:
    hide = in_private_mounts(
        f"for d in /usr/bin /bin; do mount --bind /dev/null $d/{program}; done; true"
    )
    shown = run([*hide, "sh", overlayfs_py, "doctor"])

    assert "Mounting works." in shown
    assert "install the Debian package fuse3" in shown


def test_an_ordinary_user_may_have_two_ways(overlayfs_py: Path) -> None:
    with device_for_everybody():
        told = json.loads(run(as_user([overlayfs_py, "doctor", "--json"])))

    assert told["findings"]["mount"]["state"] == "ok"
    assert told["findings"]["mount-in-user-namespace"]["state"] == "ok"
    assert told["findings"]["subordinate-ids"]["state"] == "limited"


def test_doctor_leaves_nothing(overlayfs_py: Path, temporary: Path) -> None:
    run([overlayfs_py, "doctor"], env={"TMPDIR": str(temporary)})

    assert list(temporary.iterdir()) == []
