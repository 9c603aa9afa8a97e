"""What this machine offers, found out without changing it, in words for its user.

Each check returns one finding. None of them is needed by all: whether mounting works is decided by
trying it.
"""

from __future__ import annotations

import gzip
import importlib
import os
import re
import resource
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from overlayfs_py.containers import user_namespace
from overlayfs_py.containers.failure import Failure
from overlayfs_py.containers.trial_mount import Way, try_mount

_OLDEST_KERNEL = (4, 18)  # FUSE in user namespaces
_PASSTHROUGH_KERNEL = (6, 9)
_ENOUGH_FILES = 4096  # a directory descriptor for each layer of many directories
_SYSCTL = Path("/proc/sys")
_DEVICE = Path("/dev/fuse")
# Where a distribution, or a maker of kernels, forbids user namespaces: the value that does.
_USER_NAMESPACE_SWITCHES = {
    "user/max_user_namespaces": "0",
    "kernel/unprivileged_userns_clone": "0",
    "kernel/apparmor_restrict_unprivileged_userns": "1",
}


class State(Enum):
    """How good a finding is."""

    GOOD = "ok"
    LIMITED = "limited"  # works without, with less
    BAD = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer."""

    subject: str  # in JSON too: does not change
    state: State
    words: str
    advice: str = ""  # what to do about it; empty where there is nothing to do


def examine(temporary: bytes) -> list[Finding]:
    """Return all findings; `temporary` is a directory for trial mounts."""
    return [
        check_kernel(os.uname().release),
        check_device(),
        *(check_mount(way, temporary) for way in Way),
        check_fusermount(),
        check_user_namespaces(_SYSCTL),
        check_subordinate_ids(),
        check_kernel_overlay(),
        check_passthrough(os.uname().release),
        check_open_files(),
        check_pyfuse3(),
    ]


def can_mount(findings: list[Finding]) -> bool:
    """Whether there is some way to mount."""
    ways = {_mount_subject(way) for way in Way}
    return any(found.subject in ways and found.state is State.GOOD for found in findings)


def check_kernel(release: str) -> Finding:
    if _version(release) < _OLDEST_KERNEL:
        advice = "only root can mount; 4.18 and later let users, too"
        return Finding("kernel", State.LIMITED, f"Linux {release}", advice)
    return Finding("kernel", State.GOOD, f"Linux {release}")


def check_device() -> Finding:
    if not _DEVICE.exists():
        advice = "load the module (`modprobe fuse`); in a container, give it the device /dev/fuse"
        return Finding("device", State.BAD, f"{_DEVICE} does not exist", advice)
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        advice = f"as root: chmod 0666 {_DEVICE} (udev does so on ordinary systems)"
        return Finding("device", State.BAD, f"{_DEVICE} is not open to this user", advice)
    return Finding("device", State.GOOD, f"{_DEVICE} can be opened")


def check_mount(way: Way, temporary: bytes) -> Finding:
    """Mount, and tell the kernel's FUSE protocol."""
    try:
        protocol = try_mount(way, temporary)
    except Failure as failure:
        reason = str(failure).rpartition(": ")[2]
        return Finding(_mount_subject(way), State.BAD, f"cannot mount {way.value}: {reason}")
    words = f"can mount {way.value}; FUSE protocol {protocol}"
    return Finding(_mount_subject(way), State.GOOD, words)


def _mount_subject(way: Way) -> str:
    return {Way.AS_THIS_USER: "mount", Way.USER_NAMESPACE: "mount-in-user-namespace"}[way]


def check_fusermount() -> Finding:
    found = shutil.which("fusermount3", path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        words = "fusermount3 is not installed: ordinary users mount in user namespaces only"
        return Finding("fusermount3", State.LIMITED, words, "install the Debian package fuse3")
    return Finding("fusermount3", State.GOOD, f"{found} is installed")


def check_user_namespaces(sysctl: Path) -> Finding:
    """Look at the settings that keep ordinary users out."""
    for name, forbidding in _USER_NAMESPACE_SWITCHES.items():
        switch = sysctl / name
        if switch.exists() and switch.read_text().strip() == forbidding:
            words = f"ordinary users may not make user namespaces ({name} is {forbidding})"
            advice = f"sysctl {name.replace('/', '.')} says so; root may change it"
            return Finding("user-namespaces", State.LIMITED, words, advice)
    return Finding("user-namespaces", State.GOOD, "ordinary users may make user namespaces")


def check_subordinate_ids() -> Finding:
    uid = os.geteuid()
    counts = {
        kind: sum(extent.length for extent in user_namespace.id_extents(kind, uid, uid)) - 1
        for kind in ("uid", "gid")
    }
    if all(counts.values()):
        words = f"{counts['uid']} uids and {counts['gid']} gids for containers of this user"
        return Finding("subordinate-ids", State.GOOD, words)
    if uid == 0:
        return Finding("subordinate-ids", State.GOOD, "root needs none")
    advice = (
        "install the Debian package uidmap and give the user ranges in /etc/subuid and /etc/subgid"
    )
    words = "no subordinate ids: a container of this user has a single owner, root"
    return Finding("subordinate-ids", State.LIMITED, words, advice)


def check_kernel_overlay() -> Finding:
    if re.search(r"^nodev\toverlay$", Path("/proc/filesystems").read_text(), re.MULTILINE):
        return Finding("kernel-overlayfs", State.GOOD, "the kernel's overlayfs is there, too")
    words = "no overlayfs in the kernel: nothing to compare with or to move an upper to"
    return Finding("kernel-overlayfs", State.LIMITED, words, "`modprobe overlay` may load it")


def check_passthrough(release: str) -> Finding:
    if _version(release) < _PASSTHROUGH_KERNEL:
        return Finding("passthrough", State.LIMITED, f"needs kernel 6.9; this is {release}")
    configured = _kernel_option("CONFIG_FUSE_PASSTHROUGH", release)
    if configured is None:
        return Finding("passthrough", State.LIMITED, "the kernel's configuration is not readable")
    if not configured:
        return Finding("passthrough", State.LIMITED, "not built into this kernel")
    return Finding("passthrough", State.GOOD, "the kernel can pass reads and writes through")


def _kernel_option(name: str, release: str) -> bool | None:
    """Whether the kernel was built with an option; None where it does not tell."""
    packed, plain = Path("/proc/config.gz"), Path("/boot", f"config-{release}")
    if packed.exists():
        text = gzip.decompress(packed.read_bytes()).decode()
    elif os.access(plain, os.R_OK):
        text = plain.read_text()
    else:
        return None
    return re.search(rf"^{name}=[ym]$", text, re.MULTILINE) is not None


def check_open_files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _ENOUGH_FILES:
        words = f"at most {hard} open files: little for many layers"
        return Finding("open-files", State.LIMITED, words, "raise the hard limit (`ulimit -H -n`)")
    return Finding("open-files", State.GOOD, f"up to {hard} open files")


def check_pyfuse3() -> Finding:
    try:
        importlib.import_module("overlayfs_py.drivers.pyfuse3_driver")
    except ImportError as error:
        words = f"pyfuse3 cannot be loaded ({error}): only --driver direct works"
        advice = "install Debian's libfuse3-dev, pkg-config and gcc, then pyfuse3 with pip"
        return Finding("pyfuse3", State.LIMITED, words, advice)
    return Finding("pyfuse3", State.GOOD, "pyfuse3 is installed")


def _version(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:2]))
