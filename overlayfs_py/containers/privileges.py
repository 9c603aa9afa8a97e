"""What an ordinary user, or root of a container, is allowed: user namespaces, helper programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from overlayfs_py.containers import user_namespace
from overlayfs_py.containers.finding import Finding, State
from overlayfs_py.drivers import fusermount

_SYSCTL = Path("/proc/sys")
_STATUS = Path("/proc/self/status")
_SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_MAPPERS = ("newuidmap", "newgidmap")
_CAP_SYS_ADMIN = 1 << 21  # linux/capability.h


class Switch(NamedTuple):
    """A setting that forbids user namespaces, and what allows them."""

    sysctl: str
    forbidding: str
    allowing: str

    @property
    def advice(self) -> str:
        return f"as root: sysctl -w {self.sysctl.replace('/', '.')}={self.allowing}"


# Where a distribution, or a maker of kernels, forbids user namespaces. The last is Ubuntu's, from
# 23.10 on: unshare(2), or what follows it, is EPERM for programs without an AppArmor profile.
_SWITCHES = (
    Switch("user/max_user_namespaces", "0", "15000"),
    Switch("kernel/unprivileged_userns_clone", "0", "1"),
    Switch("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
)


def forbidding_switch(sysctl: Path = _SYSCTL) -> Switch | None:
    """Return the setting that keeps ordinary users out of user namespaces."""
    for switch in _SWITCHES:
        path = sysctl / switch.sysctl
        if path.exists() and path.read_text().strip() == switch.forbidding:
            return switch
    return None


def check_user_namespaces(sysctl: Path = _SYSCTL) -> Finding:
    """Look at the settings that keep ordinary users out."""
    switch = forbidding_switch(sysctl)
    if switch is None:
        return Finding("user-namespaces", State.GOOD, "ordinary users may make user namespaces")
    words = f"ordinary users may not make user namespaces ({switch.sysctl} is {switch.forbidding})"
    return Finding("user-namespaces", State.LIMITED, words, switch.advice)


def advice_on_user_namespaces() -> str:
    """What to do where no user namespace can be made, or nothing be mounted in it."""
    switch = forbidding_switch()
    if switch is not None:
        return switch.advice
    if _status("Seccomp") != "0":
        return (
            "a seccomp filter is active, as docker's, which forbids unshare(2):"
            " docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
        )
    return "see docs/CI.md; a chroot, or a security module, may forbid it as well"


def advice_on_mounting() -> str:
    """What to do where this user, or this root, cannot mount."""
    if os.geteuid() != 0:
        return _advice_to_a_user()
    if not int(_status("CapEff"), 16) & _CAP_SYS_ADMIN:
        return "root has no CAP_SYS_ADMIN here: give the container --cap-add SYS_ADMIN"
    return (
        "a security module forbids it, as docker's AppArmor profile:"
        " docker run --security-opt apparmor=unconfined"
    )


def _advice_to_a_user() -> str:
    if _status("NoNewPrivs") == "1":
        return "no_new_privs is set, with which fusermount3 gains nothing: start without it"
    if not int(_status("CapBnd"), 16) & _CAP_SYS_ADMIN:
        return (
            "no program gains CAP_SYS_ADMIN here, fusermount3 neither: mount in a user namespace,"
            " or give the container --cap-add SYS_ADMIN"
        )
    return check_fusermount().advice or "fusermount3 refuses; mount in a user namespace"


def check_fusermount() -> Finding:
    """Look for the program that mounts for ordinary users."""
    found = fusermount.find()
    if found is None:
        words = "fusermount3 is not installed: ordinary users mount in user namespaces only"
        return Finding("fusermount3", State.LIMITED, words, "install the Debian package fuse3")
    if not fusermount.gains_privileges(found):
        words = f"{found} is not set-user-ID root: it cannot mount for ordinary users"
        advice = f"as root: chown root {found} && chmod u+s {found} (nosuid mounts take it away)"
        return Finding("fusermount3", State.LIMITED, words, advice)
    return Finding("fusermount3", State.GOOD, f"{found} is installed")


def check_other_users() -> Finding:
    """Look whether a mount by fusermount3 lets others in."""
    reason = fusermount.why_others_are_denied()
    if reason is None:
        return Finding("other-users", State.GOOD, "all users may enter an ordinary user's mounts")
    words = f"an ordinary user's mounts are for that user alone: {reason}"
    advice = "as root: echo user_allow_other >> /etc/fuse.conf"
    return Finding("other-users", State.LIMITED, words, advice)


def check_subordinate_ids() -> Finding:
    """Look for the ids that an ordinary user's containers have beside root."""
    subject = "subordinate-ids"
    uid = os.geteuid()
    counts = {
        kind: sum(extent.length for extent in user_namespace.id_extents(kind, uid, uid)) - 1
        for kind in ("uid", "gid")
    }
    weak = [program for name in _MAPPERS if (program := _powerless(name))]
    if uid == 0 and not all(counts.values()):
        return Finding(subject, State.GOOD, "root needs none")
    if all(counts.values()) and not weak:
        words = f"{counts['uid']} uids and {counts['gid']} gids for containers of this user"
        return Finding(subject, State.GOOD, words)
    single = "a container of this user has a single owner, root"
    if weak and uid:
        words = f"{' and '.join(weak)} cannot map ids, not being set-user-ID root: {single}"
        return Finding(subject, State.LIMITED, words, f"as root: chmod u+s {' '.join(weak)}")
    return Finding(subject, State.LIMITED, f"no subordinate ids: {single}", _advice_on_ids(uid))


def _advice_on_ids(uid: int) -> str:
    missing = [name for name in _MAPPERS if shutil.which(name, path=_SEARCH_PATH) is None]
    install = "install the Debian package uidmap; then " if missing else ""
    ranges = "--add-subuids 100000-165535 --add-subgids 100000-165535"
    return f"{install}as root: usermod {ranges} {user_namespace.name_of(uid)}"


def _powerless(name: str) -> str | None:
    """Return where a program is that would need more rights than it has."""
    found = shutil.which(name, path=_SEARCH_PATH)
    return None if found is None or fusermount.gains_privileges(found) else found


def _status(wanted: str) -> str:
    """Return a field of /proc/self/status; 0 where this kernel does not have it."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == wanted:
            return value.strip()
    return "0"
