from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers import privileges
from overlayfs_py.containers.finding import State
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
        "build-isolation",
        "fusermount3",
        "other-users",
        "user-namespaces",
        "subordinate-ids",
        "kernel-overlayfs",
        "passthrough",
        "open-files",
        "pyfuse3",
        "oci-runtime",
        "network-helper",
    }
    for finding in told["findings"].values():
        assert finding["state"] in {"ok", "limited", "missing"}
        assert finding["words"]
        assert finding["state"] == "ok" or finding["advice"]


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


def told_to_a_user(overlayfs_py: Path, *around: str) -> dict[str, dict[str, str]]:
    """What `doctor` finds as an ordinary user; each finding that is not good has advice."""
    doctor = as_user([*around, overlayfs_py, "doctor", "--json"])
    done = attempt(doctor)
    assert done.stderr == ""
    findings = json.loads(done.stdout)["findings"]
    assert not [each for each in findings.values() if each["state"] != "ok" and not each["advice"]]
    assert isinstance(findings, dict)
    return findings


_PLAIN_COPY = "cp /usr/bin/fusermount3 /run/plain; chmod 755 /run/plain"


def test_a_fusermount3_without_its_bit_is_seen(overlayfs_py: Path) -> None:
    take = in_private_mounts(
        f"mount -t tmpfs tmpfs /run; {_PLAIN_COPY}; mount --bind /run/plain /usr/bin/fusermount3"
    )
    doctor = as_user([overlayfs_py, "doctor", "--json"])
    with device_for_everybody():
        told = json.loads(run([*take, "sh", *doctor]))["findings"]

    for subject in ("fusermount3", "mount"):
        assert "chmod u+s /usr/bin/fusermount3" in told[subject]["advice"]
    assert told["fusermount3"]["state"] == "limited"
    assert told["mount"]["state"] == "missing"


def test_a_fusermount3_without_its_bit_hides_no_good_one(overlayfs_py: Path) -> None:
    put = in_private_mounts(
        f"mount -t tmpfs tmpfs /run; {_PLAIN_COPY};"
        " mount -t tmpfs -o mode=755 tmpfs /usr/local/bin; cp /run/plain /usr/local/bin/fusermount3"
    )
    with device_for_everybody():
        told = json.loads(run([*put, "sh", *as_user([overlayfs_py, "doctor", "--json"])]))

    assert told["findings"]["mount"]["state"] == "ok"
    assert "/usr/bin/fusermount3" in told["findings"]["fusermount3"]["words"]


def test_without_new_privileges_fusermount3_is_of_no_use(overlayfs_py: Path) -> None:
    with device_for_everybody():
        told = told_to_a_user(overlayfs_py, "setpriv", "--no-new-privs")

    assert told["mount"]["state"] == "missing"
    assert "no_new_privs" in told["mount"]["advice"]


def test_a_forbidden_user_namespace_names_the_setting(overlayfs_py: Path) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", forbid, "sh"]
    with device_for_everybody():
        told = told_to_a_user(overlayfs_py, *inside)

    for subject in ("user-namespaces", "mount-in-user-namespace"):
        assert "sysctl -w user.max_user_namespaces=" in told[subject]["advice"]
    assert told["mount-in-user-namespace"]["state"] == "missing"


# Of what AppArmor on Ubuntu and docker's filter have in common: unshare(CLONE_NEWUSER) is EPERM.
_DENY_USER_NAMESPACES = """
import ctypes, os, struct, sys
unshare = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, unshare), (0x20, 0, 0, 16), (0x45, 0, 1, 0x10000000),
         (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = struct.pack("@HP", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_filter_against_user_namespaces_is_named(overlayfs_py: Path) -> None:
    with device_for_everybody():
        told = told_to_a_user(overlayfs_py, "/usr/bin/python3", "-c", _DENY_USER_NAMESPACES)

    assert told["mount-in-user-namespace"]["state"] == "missing"
    assert "Operation not permitted" in told["mount-in-user-namespace"]["words"]
    assert "seccomp=unconfined" in told["mount-in-user-namespace"]["advice"]


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "=0"),
        ("kernel/unprivileged_userns_clone", "0", "=1"),
        ("user/max_user_namespaces", "0", "=15000"),
    ],
)
def test_a_distribution_s_setting_comes_with_the_command(
    name: str, value: str, advice: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(f"{value}\n")

    found = privileges.check_user_namespaces(tmp_path)

    assert found.state is State.LIMITED
    assert f"sysctl -w {name.replace('/', '.')}{advice}" in found.advice


def test_a_node_that_is_no_device_is_told(overlayfs_py: Path) -> None:
    change = in_private_mounts("mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/fuse c 10 254")
    told = json.loads(attempt([*change, "sh", overlayfs_py, "doctor", "--json"]).stdout)

    assert told["findings"]["device"]["state"] == "missing"
    assert "modprobe fuse" in told["findings"]["device"]["advice"]


def test_root_without_the_right_to_mount_is_told(overlayfs_py: Path) -> None:
    weak = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    told = json.loads(attempt([*weak, overlayfs_py, "doctor", "--json"]).stdout)

    assert "--cap-add SYS_ADMIN" in told["findings"]["mount"]["advice"]


@pytest.mark.parametrize("program", ["newuidmap", "newgidmap"])
def test_a_mapper_without_its_bit_is_seen(overlayfs_py: Path, program: str) -> None:
    take = in_private_mounts(
        f"mount -t tmpfs -o mode=755 tmpfs /run; cp /usr/bin/{program} /run/plain;"
        f" chmod 755 /run/plain; mount --bind /run/plain /usr/bin/{program}"
    )
    done = attempt([*take, "sh", *as_user([overlayfs_py, "doctor", "--json"])])
    told = json.loads(done.stdout)["findings"]["subordinate-ids"]

    assert told["state"] == "limited"
    assert told["advice"] == f"as root: chmod u+s /usr/bin/{program}"


def test_an_ordinary_user_may_have_two_ways(overlayfs_py: Path) -> None:
    with device_for_everybody():
        told = json.loads(run(as_user([overlayfs_py, "doctor", "--json"])))

    assert told["findings"]["mount"]["state"] == "ok"
    assert told["findings"]["mount-in-user-namespace"]["state"] == "ok"
    assert told["findings"]["subordinate-ids"]["state"] == "limited"


def test_doctor_leaves_nothing(overlayfs_py: Path, temporary: Path) -> None:
    run([overlayfs_py, "doctor"], env={"TMPDIR": str(temporary)})

    assert list(temporary.iterdir()) == []
