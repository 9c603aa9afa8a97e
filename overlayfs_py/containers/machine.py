"""What this machine offers, found out without changing it, in words for its user.

Each check returns one finding. None of them is needed by all: whether mounting works is decided by
trying it.
"""

from __future__ import annotations

import errno
import gzip
import importlib
import os
import re
import resource
import shutil
from pathlib import Path

from overlayfs_py.containers import chroot_needs, oci_runtime, privileges
from overlayfs_py.containers.finding import Finding, State
from overlayfs_py.containers.trial_mount import Way, try_mount
from overlayfs_py.drivers import pyfuse3_install
from overlayfs_py.errors import Failure

_OLDEST_KERNEL = (4, 18)  # FUSE in user namespaces
_PASSTHROUGH_KERNEL = (6, 9)
_ENOUGH_FILES = 4096  # a directory descriptor for each layer of many directories
_SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_NETWORKS = ("pasta", "slirp4netns")
_DEVICE = Path("/dev/fuse")


def examine(temporary: bytes) -> list[Finding]:
    """Return all findings; `temporary` is a directory for trial mounts."""
    mounts = [check_mount(way, temporary) for way in Way]
    return [
        check_kernel(os.uname().release),
        check_device(),
        *mounts,
        check_builds(temporary, mounts=can_mount(mounts)),
        privileges.check_fusermount(),
        privileges.check_other_users(),
        privileges.check_user_namespaces(),
        privileges.check_subordinate_ids(),
        check_kernel_overlay(),
        check_passthrough(os.uname().release),
        check_open_files(),
        check_pyfuse3(),
        check_programs(
            "OCI runtime", oci_runtime.NAMES, "crun", "`run --runtime` and engines need"
        ),
        check_programs(
            "network helper", _NETWORKS, "passt", "`run --network private` and engines need"
        ),
    ]


def can_mount(findings: list[Finding]) -> bool:
    """Whether there is some way to mount."""
    ways = {_mount_subject(way) for way in Way}
    return any(found.subject in ways and found.state is State.GOOD for found in findings)


def check_builds(temporary: bytes, *, mounts: bool) -> Finding:
    """Say which isolation the commands of a build can have."""
    subject = "build-isolation"
    if mounts:
        return Finding(subject, State.GOOD, "RUN of a build runs in namespaces of its own")
    reason = chroot_needs.why_not(temporary)
    if reason is None:
        words = "RUN of a build runs with --isolation chroot only: with this container's own rights"
        return Finding(subject, State.LIMITED, words, "overlayfs-py build --isolation chroot")
    words = "a build can have no RUN; COPY, ADD and the rest need nothing"
    return Finding(subject, State.LIMITED, words, f"for --isolation chroot: {reason}")


def check_kernel(release: str) -> Finding:
    if _version(release) < _OLDEST_KERNEL:
        advice = "only root can mount; 4.18 and later let users, too"
        return Finding("kernel", State.LIMITED, f"Linux {release}", advice)
    return Finding("kernel", State.GOOD, f"Linux {release}")


def check_device() -> Finding:
    if not _DEVICE.exists():
        advice = f"as root: modprobe fuse; in podman or docker: run --device {_DEVICE}"
        return Finding("device", State.BAD, f"{_DEVICE} does not exist", advice)
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        words = f"{_DEVICE} cannot be opened: {error.strerror}"
        return Finding("device", State.BAD, words, _advice_on_device(error.errno))
    return Finding("device", State.GOOD, f"{_DEVICE} can be opened")


def _advice_on_device(number: int | None) -> str:
    if number == errno.EACCES:
        return f"as root: chmod 0666 {_DEVICE} (udev does so on ordinary systems)"
    if number == errno.EPERM:  # of the device cgroup; a mode would say EACCES
        return f"the container may not use it: podman or docker run --device {_DEVICE}"
    return "the node is no FUSE device of this kernel: modprobe fuse, then make it anew"


def check_mount(way: Way, temporary: bytes) -> Finding:
    """Mount, and tell the kernel's FUSE protocol."""
    try:
        protocol = try_mount(way, temporary)
    except Failure as failure:
        reason = str(failure).rpartition(": ")[2].partition(";")[0]
        words = f"cannot mount {way.value}: {reason}"
        return Finding(_mount_subject(way), State.BAD, words, _advice_on_mount(way))
    words = f"can mount {way.value}; FUSE protocol {protocol}"
    return Finding(_mount_subject(way), State.GOOD, words)


def _advice_on_mount(way: Way) -> str:
    if check_device().state is State.BAD:
        return f"{_DEVICE} is needed: see above"
    if way is Way.USER_NAMESPACE:
        return privileges.advice_on_user_namespaces()
    return privileges.advice_on_mounting()


def _mount_subject(way: Way) -> str:
    return {Way.AS_THIS_USER: "mount", Way.USER_NAMESPACE: "mount-in-user-namespace"}[way]


def check_kernel_overlay() -> Finding:
    if re.search(r"^nodev\toverlay$", Path("/proc/filesystems").read_text(), re.MULTILINE):
        return Finding("kernel-overlayfs", State.GOOD, "the kernel's overlayfs is there, too")
    words = "no overlayfs in the kernel: nothing to compare with or to move an upper to"
    return Finding("kernel-overlayfs", State.LIMITED, words, "`modprobe overlay` may load it")


def check_passthrough(release: str) -> Finding:
    if _version(release) < _PASSTHROUGH_KERNEL:
        words = f"no io=passthrough: needs kernel 6.9; this is {release}"
        return Finding("passthrough", State.LIMITED, words, "go on with io=cached, as by default")
    configured = _kernel_option("CONFIG_FUSE_PASSTHROUGH", release)
    if configured is None:
        words = "whether the kernel can pass reads through is not known: no readable configuration"
        return Finding("passthrough", State.LIMITED, words, "try io=passthrough: it says if not")
    if not configured:
        words = "no io=passthrough: not built into this kernel"
        return Finding("passthrough", State.LIMITED, words, "CONFIG_FUSE_PASSTHROUGH=y has it")
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
        return Finding("pyfuse3", State.LIMITED, words, pyfuse3_install.HOW)
    return Finding("pyfuse3", State.GOOD, "pyfuse3 is installed")


def check_programs(kind: str, names: tuple[str, ...], package: str, users: str) -> Finding:
    """Say which of some programs are there that engines or containers use."""
    subject = kind.lower().replace(" ", "-")
    found = [name for name in names if shutil.which(name, path=_SEARCH_PATH)]
    if found:
        return Finding(subject, State.GOOD, f"{kind}: {', '.join(found)}")
    advice = f"{users} one: install the Debian package {package}"
    return Finding(subject, State.LIMITED, f"no {kind} ({', '.join(names)})", advice)


def _version(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:2]))
