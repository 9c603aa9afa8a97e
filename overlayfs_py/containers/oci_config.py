"""The `config.json` of a container for an OCI runtime: what the embedded way does, in its words.

Source: the runtime-spec, config.md and config-linux.md.
"""

from __future__ import annotations

import os
import resource
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers import capabilities, proc_mount, rights, seccomp_profile, sys_mount
from overlayfs_py.containers.seccomp_profile import ERRNO
from overlayfs_py.syscalls import capabilities as capability_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.containers.accounts import Account
    from overlayfs_py.containers.init import Container
    from overlayfs_py.containers.seccomp_profile import Condition, Profile, Rule
    from overlayfs_py.store.containers import ContainerRecord

    Json = dict[str, object]

_VERSION = "1.0.2"
_QUIET = ("nosuid", "noexec", "nodev")
_INIT = "/dev/init"  # podman's place: nothing of the image's is there
_TTY_GROUP = 5  # of Debian, Fedora and most others
_NO_LIMIT = (1 << 64) - 1


class Surroundings(NamedTuple):
    """What the configuration depends on besides the container."""

    names: str  # where the files of `name_files` are
    network: str | None  # the path of its network namespace; None: the host's
    cgroup: str | None  # where the runtime makes one
    init: str | None  # the program that comes first, if one is asked for
    volumes: tuple[tuple[str, str, bool], ...]  # source, place, read only: of a read-only root
    is_namespace: bool  # whether this process is root of a user namespace only
    has_tty_group: bool


def config(
    record: ContainerRecord, container: Container, account: Account, around: Surroundings
) -> Json:
    """Return the configuration."""
    return {
        "ociVersion": _VERSION,
        "hostname": container.hostname if container.has_own_name else "",
        "root": {"path": os.fsdecode(container.root), "readonly": container.read_only},
        "process": _process(record, container, account, around),
        "mounts": list(_mounts(container, around)),
        "annotations": record.annotations,
        "linux": _linux(record, container, around),
    }


def _process(
    record: ContainerRecord, container: Container, account: Account, around: Surroundings
) -> Json:
    process = container.process
    kept = container.rights.kept
    names = capabilities.names_of(capability_calls.held() if kept is None else kept)
    effective = names if account.uid == 0 else []
    first = [] if around.init is None else [_INIT, "--"]
    environment = {b"HOME": os.fsencode(account.home), **process.environment}
    found: Json = {
        "terminal": record.tty,
        "user": {
            "uid": account.uid,
            "gid": account.gid,
            "additionalGids": list(account.groups),
        },
        "args": [*first, *map(os.fsdecode, process.words)],
        "env": [f"{os.fsdecode(k)}={os.fsdecode(v)}" for k, v in environment.items()],
        "cwd": os.path.normpath("/" + record.directory.lstrip("/")),
        "capabilities": {"bounding": names, "effective": effective, "permitted": effective},
        "noNewPrivileges": not container.rights.new_privileges,
        "rlimits": [
            {
                "type": f"RLIMIT_{limit.name.upper()}",
                "soft": _limit(limit.soft),
                "hard": _limit(limit.hard),
            }
            for limit in container.rights.limits
        ],
    }
    if container.oom_score:
        found["oomScoreAdj"] = container.oom_score
    return found


def _limit(value: int) -> int:
    return _NO_LIMIT if value == resource.RLIM_INFINITY else value


def _mounts(container: Container, around: Surroundings) -> Iterator[Json]:
    yield _mount("/proc", "proc", "proc", *_QUIET)
    yield from _sys(container, around)
    yield _mount("/dev", "tmpfs", "tmpfs", "nosuid", "noexec", "strictatime", "mode=755")
    group = (f"gid={_TTY_GROUP}",) if around.has_tty_group else ()
    terminals = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *group)
    yield _mount("/dev/pts", "devpts", "devpts", *terminals)
    if container.ipc == "host":
        yield _bind("/dev/shm", "/dev/shm")
        yield _bind("/dev/mqueue", "/dev/mqueue")
    else:
        if container.ipc != "none":
            size = (f"size={container.shm_bytes}",) if container.shm_bytes else ()
            yield _mount("/dev/shm", "tmpfs", "shm", *_QUIET, "mode=1777", *size)
        yield _mount("/dev/mqueue", "mqueue", "mqueue", *_QUIET)
    if os.path.exists("/dev/fuse"):
        yield _bind("/dev/fuse", "/dev/fuse")
    for device in container.devices:
        yield _bind(os.fsdecode(device.source), f"/dev/{os.fsdecode(device.place)}")
    if around.init is not None:
        yield _bind(around.init, _INIT, "ro")
    for name in ("hostname", "hosts", "resolv.conf"):
        yield _bind(f"{around.names}/{name}", f"/etc/{name}")
    for source, place, read_only in around.volumes:
        yield _bind(source, place, "ro" if read_only else "rw")
    for volume in container.files:
        mode = "ro" if volume.read_only else "rw"
        yield _bind(os.fsdecode(volume.source), os.fsdecode(volume.target), mode)
    for tmpfs in container.tmpfs:
        yield _mount(os.fsdecode(tmpfs.target), "tmpfs", "tmpfs", *tmpfs.options())


def _sys(container: Container, around: Surroundings) -> Iterator[Json]:
    mode = "rw" if container.privileged else "ro"
    if around.is_namespace and around.network is None:
        # Only the owner of a network namespace may mount a new one.
        yield _mount("/sys", "bind", "/sys", "rbind", *_QUIET, "rro" if mode == "ro" else "rw")
        return
    yield _mount("/sys", "sysfs", "sysfs", *_QUIET, mode)
    yield _mount("/sys/fs/cgroup", "cgroup", "cgroup", *_QUIET, "relatime", mode)


def _mount(place: str, kind: str, source: str, *options: str) -> Json:
    return {"destination": place, "type": kind, "source": source, "options": list(options)}


def _bind(source: str, place: str, *options: str) -> Json:
    return _mount(place, "bind", source, "rbind", "rprivate", *options)


def _linux(record: ContainerRecord, container: Container, around: Surroundings) -> Json:
    found: Json = {
        "namespaces": list(_namespaces(container, around)),
        "resources": {"devices": list(_device_rules(container))},
        "sysctl": dict(text.partition("=")[::2] for text in container.sysctls),
    }
    if around.cgroup is not None:
        found["cgroupsPath"] = around.cgroup
    if not container.privileged:
        proc = ("/proc/" + os.fsdecode(name) for name in proc_mount.MASKED)
        found["maskedPaths"] = [*proc, *("/sys/" + os.fsdecode(name) for name in sys_mount.MASKED)]
        found["readonlyPaths"] = ["/proc/" + os.fsdecode(name) for name in proc_mount.READ_ONLY]
    if container.rights.filter is not None:
        found["seccomp"] = _seccomp(rights.profile_of(record))
    return found


def _device_rules(container: Container) -> Iterator[Json]:
    """Which devices may be used, besides those that each container has."""
    yield {"allow": container.privileged, "access": "rwm"}
    for kind in ("c", "b"):
        yield {"allow": True, "type": kind, "access": "m"}  # to make a node is not to use it
    for source in (b"/dev/fuse", *(device.source for device in container.devices)):
        for path in _nodes(source):
            found = os.stat(path)
            yield {
                "allow": True,
                "type": "b" if stat.S_ISBLK(found.st_mode) else "c",
                "major": os.major(found.st_rdev),
                "minor": os.minor(found.st_rdev),
                "access": "rwm",
            }


def _nodes(source: bytes) -> Iterator[bytes]:
    """A device, or those in a directory; none where nothing is."""
    if os.path.isdir(source):
        for name in os.listdir(source):
            yield from _nodes(os.path.join(source, name))
    elif os.path.exists(source) and not os.path.isfile(source):
        yield source


def _namespaces(container: Container, around: Surroundings) -> Iterator[Json]:
    yield {"type": "pid"}
    yield {"type": "mount"}
    if container.has_own_name:
        yield {"type": "uts"}
    if container.ipc != "host":
        yield {"type": "ipc"}
    if container.has_own_cgroups:
        yield {"type": "cgroup"}
    if around.network is not None:
        yield {"type": "network", "path": around.network}


def _seccomp(profile: Profile) -> Json:
    found: Json = {
        "defaultAction": profile.default.name,
        "architectures": list(seccomp_profile.machines().values()),
        "syscalls": [_rule(rule) for rule in profile.rules],
    }
    if profile.default.name == ERRNO:
        found["defaultErrnoRet"] = profile.default.errno
    return found


def _rule(rule: Rule) -> Json:
    found: Json = {
        "names": list(rule.names),
        "action": rule.action.name,
        "args": [_argument(condition) for condition in rule.conditions],
    }
    if rule.action.name == ERRNO:
        found["errnoRet"] = rule.action.errno
    return found


def _argument(condition: Condition) -> Json:
    return {
        "index": condition.argument,
        "op": condition.operator,
        "value": condition.value,
        "valueTwo": condition.value_two,
    }
