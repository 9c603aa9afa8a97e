"""Becoming root without being root: a user namespace in which the caller's ids are root's.

Where /etc/subuid gives the user a range of ids and newuidmap is there to grant it, the container
has all its usual owners; otherwise it has one, and everything else belongs to nobody.
"""

from __future__ import annotations

import logging
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure
from overlayfs_py.late_import import LateModule, late_pattern
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import mounts, namespaces
from overlayfs_py.syscalls.namespaces import IdExtent

if TYPE_CHECKING:
    import shutil
    import subprocess

    from overlayfs_py.mounts.children import Report
else:
    # For ordinary users alone.
    shutil = LateModule("shutil")
    subprocess = LateModule("subprocess")

log = logging.getLogger(__name__)

_SUBORDINATE = {"uid": Path("/etc/subuid"), "gid": Path("/etc/subgid")}
_LINE = late_pattern(r"([^:]+):([0-9]+):([1-9][0-9]*)")
_MAPPER = {"uid": "newuidmap", "gid": "newgidmap"}
_SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_HELP = "`overlayfs-py doctor` says what is missing"
_CAP_SYS_ADMIN = 1 << 21  # linux/capability.h


def may_mount() -> bool:
    """Whether this process may unshare and mount as it is: root, or root of a user namespace."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) & _CAP_SYS_ADMIN)
    return False


def enter() -> None:
    """Move this process, which must have one thread, into a user namespace as its root.

    Raises:
        Failure: this kernel or its settings allow no user namespace.
    """
    uid, gid = os.geteuid(), os.getegid()
    extents = {"uid": id_extents("uid", uid, uid), "gid": id_extents("gid", uid, gid)}
    if not all(len(found) > 1 for found in extents.values()):
        _unshare()
        _map_to_root(uid, gid)
        return
    refusal = _enter_with_help(extents)
    if refusal is None:
        os.setgroups([])  # those of the user outside mean nothing inside
    else:
        # As in a container, where newuidmap has no rights: what needs one owner still works.
        log.warning("%s: all files have one owner here, root", refusal)
        _map_to_root(uid, gid)


def part_mounts() -> None:
    """Have mounts of this process's own: nobody sees them, and what the host unmounts goes away.

    Raises:
        Failure: a security module forbids it, as Ubuntu's does in an ordinary user's namespace.
    """
    try:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, b"/", None, mounts.MS_REC | mounts.MS_SLAVE)
    except PermissionError as error:
        raise Failure(f"mounting: {error.strerror}; {_HELP}") from None


def id_extents(kind: str, uid: int, own: int) -> list[IdExtent]:
    """Return the id that becomes root and those that the user `uid` may use beside it."""
    extents = [IdExtent(0, own, 1)]
    if shutil.which(_MAPPER[kind], path=_SEARCH_PATH) is not None:
        for outside, length in _subordinate_ranges(_SUBORDINATE[kind], uid):
            inside = extents[-1].inside + extents[-1].length
            extents.append(IdExtent(inside, outside, length))
    return extents


def name_of(uid: int) -> str:
    """Return a user's name; the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _subordinate_ranges(table: Path, uid: int) -> list[tuple[int, int]]:
    """Return (first, length) of the user's lines of subuid(5), the others left out."""
    names = {str(uid)}
    try:
        names.add(pwd.getpwuid(uid).pw_name)
        lines = table.read_text(errors="replace").splitlines()
    except (KeyError, FileNotFoundError):  # a user without a name, a machine without the table
        return []
    found = (_LINE.fullmatch(line) for line in lines)
    return [(int(row[2]), int(row[3])) for row in found if row is not None and row[1] in names]


def _unshare() -> None:
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER)
    except OSError as error:
        raise Failure(f"user namespace: {error.strerror}; {_HELP}") from None


def _map_to_root(uid: int, gid: int) -> None:
    try:
        namespaces.map_to_root(uid, gid)
    except OSError as error:
        raise Failure(f"user namespace: {error.strerror}; {_HELP}") from None


def _enter_with_help(extents: dict[str, list[IdExtent]]) -> Failure | None:
    """Enter, and have newuidmap and newgidmap write the maps, from outside as they must be.

    Returns why they did not.
    """
    target = os.getpid()
    wait_fd, go_fd = os.pipe()

    def map_when_told(report: Report) -> None:
        os.close(go_fd)
        if os.read(wait_fd, 1):
            for kind, found in extents.items():
                _run_mapper(_MAPPER[kind], target, found)
            report.ready()

    mapper = children.start(map_when_told)
    os.close(wait_fd)
    try:
        _unshare()
        os.write(go_fd, b"!")
    except Failure:
        os.close(go_fd)
        mapper.wait()
        raise
    os.close(go_fd)
    try:
        mapper.ready()
    except Failure as failure:
        return failure
    mapper.wait()
    return None


def _run_mapper(name: str, pid: int, extents: list[IdExtent]) -> None:
    program = shutil.which(name, path=_SEARCH_PATH) or name
    numbers = namespaces.format_extents(extents).split()
    done = subprocess.run(
        [program, str(pid), *numbers], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failure(f"{name}: {done.stderr.strip() or 'failed'}")
