from __future__ import annotations

import os
import pwd
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers import user_namespace
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import mounts, namespaces
from overlayfs_py.syscalls.namespaces import IdExtent

if TYPE_CHECKING:
    from overlayfs_py.mounts.children import Report

PR_SET_DUMPABLE = 4  # linux/prctl.h
USER = pwd.getpwnam("nobody").pw_uid


def in_private_namespace(tables: dict[str, str], tmp_path: Path) -> None:
    """Show other tables of subordinate ids, to this process alone."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, b"/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    for name, text in tables.items():
        table = tmp_path / name
        table.write_text(text)
        mounts.mount(os.fsencode(table), b"/etc/" + name.encode(), None, mounts.MS_BIND)


def become_user() -> None:
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    # As after the exec of any command of the user: otherwise /proc/self belongs to root (proc(5)).
    namespaces._prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def maps_of_user(tables: dict[str, str], tmp_path: Path) -> list[list[str]]:
    """Enter a namespace as the ordinary user; return uid map, gid map and who one is inside."""

    def work(report: Report) -> None:
        in_private_namespace(tables, tmp_path)
        become_user()
        user_namespace.enter()
        maps = [Path(f"/proc/self/{kind}_map").read_text() for kind in ("uid", "gid")]
        who = f"{os.geteuid()} {os.getegid()} {user_namespace.may_mount()}"
        report.ready("\n\n".join([*maps, who]).encode())

    child = children.start(work)
    text = child.ready().decode()
    assert child.wait() == 0
    return [
        [" ".join(line.split()) for line in part.splitlines() if line]
        for part in text.split("\n\n")
    ]


def test_without_subordinate_ids_root_is_the_only_owner(tmp_path: Path) -> None:
    tables = {"subuid": "", "subgid": ""}

    uids, gids, who = maps_of_user(tables, tmp_path)

    assert uids == gids == [f"0 {USER} 1"]
    assert who == ["0 0 True"]


def test_subordinate_ids_are_the_other_owners(tmp_path: Path) -> None:
    tables = {
        "subuid": f"# of users\nsomebody:1:2\nnobody:x:1000\nnobody:200000:1000\nnobody:5:0\n"
        f"\n{USER}:400000:65536\n",
        "subgid": "nobody:300000:65536\n",
    }

    uids, gids, who = maps_of_user(tables, tmp_path)

    assert uids == [f"0 {USER} 1", "1 200000 1000", "1001 400000 65536"]
    assert gids == [f"0 {USER} 1", "1 300000 65536"]
    assert who == ["0 0 True"]


def test_half_of_the_tables_is_as_good_as_none(tmp_path: Path) -> None:
    uids, gids, _ = maps_of_user({"subuid": "nobody:200000:1000\n", "subgid": ""}, tmp_path)

    assert uids == gids == [f"0 {USER} 1"]


def test_extents_follow_one_another_inside() -> None:
    assert user_namespace.id_extents("uid", USER, USER)[0] == IdExtent(0, USER, 1)
    assert namespaces.format_extents([IdExtent(0, 5, 1), IdExtent(1, 9, 2)]) == "0 5 1\n1 9 2\n"


def test_a_forbidden_namespace_is_a_failure_that_says_where_to_look() -> None:
    """A new user namespace is refused in a chroot (user_namespaces(7))."""

    def work(_: Report) -> None:
        os.chroot("/tmp")
        become_user()
        user_namespace.enter()

    with pytest.raises(Failure, match="user namespace: Operation not permitted"):
        children.start(work).ready()


def test_root_may_mount_and_a_user_may_not() -> None:
    def work(_: Report) -> int:
        become_user()
        return int(user_namespace.may_mount())

    assert user_namespace.may_mount()
    assert children.start(work).wait() == 0


def test_the_signal_of_a_dead_parent_survives_the_way_into_a_namespace() -> None:
    """The kernel forgets the signal when a process gains rights; entering is no such case."""

    def parent(report: Report) -> None:
        become_user()
        user_namespace.enter()
        own_fd = os.pidfd_open(os.getpid())

        def young(inner: Report) -> None:
            children.die_with(own_fd, signal.SIGKILL)
            namespaces.unshare(namespaces.CLONE_NEWNS)
            inner.ready()
            signal.pause()

        child = children.start(young)
        child.ready()
        report.ready(b"%d" % child.pid)
        signal.pause()

    middle = children.start(parent)
    young_fd = os.pidfd_open(int(middle.ready()))
    middle.kill(signal.SIGKILL)
    middle.wait()

    ended, _, _ = select.select([young_fd], [], [], 10)
    os.close(young_fd)
    assert ended


def test_where_newuidmap_is_refused_there_is_one_owner(tmp_path: Path) -> None:
    """As in a container: the range belongs to nobody who could give it."""
    program = tmp_path / "newuidmap"
    program.write_text("#!/bin/sh\necho not permitted >&2; exit 1\n")
    program.chmod(0o755)
    tables = {"subuid": "nobody:200000:1000\n", "subgid": "nobody:200000:1000\n"}

    def work(report: Report) -> None:
        in_private_namespace(tables, tmp_path)
        mounts.mount(os.fsencode(program), b"/usr/bin/newuidmap", None, mounts.MS_BIND)
        become_user()
        user_namespace.enter()
        report.ready(Path("/proc/self/uid_map").read_bytes())

    child = children.start(work)
    assert child.ready().split() == [b"0", b"%d" % USER, b"1"]
    assert child.wait() == 0
