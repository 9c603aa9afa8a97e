"""What has to be known of a container's files before an OCI runtime takes over.

A process looks that has the container's root for its own, so that no link of the image's leads
out: a configuration has numbers for the user and groups, and a directory that is there.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from typing import TYPE_CHECKING

from overlayfs_py.containers import file_volumes
from overlayfs_py.containers.accounts import Account
from overlayfs_py.containers.process import NOT_FOUND
from overlayfs_py.containers.system_mounts import about
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.containers.file_volumes import FileVolume
    from overlayfs_py.containers.process import Process
    from overlayfs_py.mounts.children import Report
    from overlayfs_py.union.values import Volume

_SYSTEM_MOUNTS = (b"/dev/", b"/proc/", b"/sys/")
_TABLES = (b"/etc/passwd", b"/etc/group")
_ROOT = Account(0, 0, (), "/root")

log = logging.getLogger(__name__)


def prepare(root: bytes, process: Process, files: Iterable[Volume]) -> Account:
    """Make the working directory in the root of a container; returns whom the process runs as.

    Raises:
        Failure: the user is not there, or the program: 127.
    """
    said = os.memfd_create("account")

    tables = [volume for volume in files if volume.target in _TABLES]

    def look(report: Report) -> None:
        shown = _prepared(tables)
        os.chroot(root)
        os.chdir("/")
        sys.path.clear()
        for place in _SYSTEM_MOUNTS:
            _require_directory(place.rstrip(b"/"))
        for table in shown:
            table.show()
        account = process.account()
        if not (process.directory.path + b"/").startswith(_SYSTEM_MOUNTS):
            process.directory.enter()
        _require_program(process)
        os.write(said, json.dumps(account).encode())
        report.ready()

    child = children.start(look)
    child.ready()
    child.wait()
    with open(said, "rb") as file:
        file.seek(0)
        found = json.loads(file.read())
    account = Account(*found)._replace(groups=tuple(found[2]))
    return _had(process, account)


def is_mapped(kind: str, number: int) -> bool:
    """Whether this process's user namespace has a `uid` or `gid`."""
    with open(f"/proc/self/{kind}_map") as file:
        rows = [tuple(map(int, line.split())) for line in file]
    return any(inside <= number < inside + length for inside, _, length in rows)


def _had(process: Process, account: Account) -> Account:
    """The account, or root's where the namespace has no such id and nobody insists."""
    if is_mapped("uid", account.uid) and is_mapped("gid", account.gid):
        groups = tuple(gid for gid in account.groups if is_mapped("gid", gid))
        if account.needs_groups and groups != account.groups:
            raise Failure(
                "--group-add: the container has no such ids"
                " (an ordinary user's has those that /etc/subuid and /etc/subgid give)"
            )
        return account._replace(groups=groups)
    why = (
        f"user {account.uid}:{account.gid}: {os.strerror(errno.EINVAL)}: the container has no such"
        " id (an ordinary user's has those that /etc/subuid and /etc/subgid give)"
    )
    if not process.user_is_wish:
        raise Failure(why)
    log.warning("%s; it runs as root instead", why)
    return _ROOT


def _prepared(tables: list[Volume]) -> list[FileVolume]:
    """Volumes to be shown in this process only."""
    if not tables:
        return []
    namespaces.unshare(namespaces.CLONE_NEWNS)
    return file_volumes.prepare(tables)


def _require_directory(place: bytes) -> None:
    """Have a runtime mount on no link of the image's (CVE-2026-47766, CVE-2026-41579)."""
    with about(os.fsdecode(place)):
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(place, flags))


def _require_program(process: Process) -> None:
    """Say that a program is not there as the embedded way says it."""
    program = process.words[0]
    if b"/" in program:
        found = os.path.lexists(program)
    else:
        path = process.environment.get(b"PATH", b"")
        found = any(os.path.lexists(os.path.join(each, program)) for each in path.split(b":"))
    if not found or not program:
        shown = os.fsdecode(program) or "''"
        raise Failure(f"{shown}: {os.strerror(errno.ENOENT)}", NOT_FOUND)
