"""Whom a container's process runs as: users and groups of the image's own tables.

The forms are docker's: USER, UID, USER:GROUP, UID:GID (moby: docs/reference/run.md, "USER"). The
tables are an image's and so anything at all: of any size, a pipe, ids that no kernel has.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_USERS = "/etc/passwd"
_GROUPS = "/etc/group"
_LARGEST_TABLE = 16 << 20  # a guess, far above what is found
_LARGEST_ID = (1 << 31) - 1  # as docker has it: some programs take ids for signed numbers
_MOST_GROUPS = 65536  # NGROUPS_MAX of linux/limits.h
_ROOTS_HOME = "/root"


class Account(NamedTuple):
    """The ids of a process, and the home directory that goes with them."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary ones
    home: str
    needs_groups: bool = False  # whether they were asked for


class _User(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def find_account(text: str, more: Iterable[str] = ()) -> Account:
    """Return what `text` names in the root of this process; nothing at all means root.

    `more` are names or numbers of groups besides the user's own. A number need not be in the
    tables. To be called where / is the container's.

    Raises:
        Failure: a name is not there, or a number is not an id.
    """
    wanted, colon, wanted_group = text.partition(":")
    user = _find_user(wanted or "0")
    groups = list(_groups())
    extra = tuple(_find_gid(name, groups) for name in more)
    if colon and wanted_group:
        return Account(user.uid, _find_gid(wanted_group, groups), extra, user.home, bool(extra))
    joined = tuple(group.gid for group in groups if user.name and user.name in group.members)
    found = (*extra, *joined)[:_MOST_GROUPS]
    return Account(user.uid, user.gid, found, user.home, bool(extra))


def _find_user(text: str) -> _User:
    number = _number(text)
    for user in _users():
        if user.name == text or user.uid == number:
            return user
    if number is None:
        raise Failure(f"user {text}: not in the image's {_USERS}")
    return _User("", _require_id(f"user {text}", number), 0, "/" if number else _ROOTS_HOME)


def _find_gid(text: str, groups: list[_Group]) -> int:
    number = _number(text)
    for group in groups:
        if group.name == text or group.gid == number:
            return group.gid
    if number is None:
        raise Failure(f"group {text}: not in the image's {_GROUPS}")
    return _require_id(f"group {text}", number)


def _require_id(what: str, number: int) -> int:
    if number > _LARGEST_ID:
        raise Failure(f"{what}: not an id: at most {_LARGEST_ID}")
    return number


def _users() -> Iterator[_User]:
    for fields in _rows(_USERS):
        if len(fields) >= 6:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None and max(uid, gid) <= _LARGEST_ID:
                home = fields[5] if fields[5].startswith("/") else "/"
                yield _User(fields[0], uid, gid, home)


def _groups() -> Iterator[_Group]:
    for fields in _rows(_GROUPS):
        if len(fields) >= 4:
            gid = _number(fields[2])
            if gid is not None and gid <= _LARGEST_ID:
                yield _Group(fields[0], gid, tuple(filter(None, fields[3].split(","))))


def _rows(table: str) -> Iterator[list[str]]:
    """The lines of a table that is there and readable, in fields; what is no table has none."""
    text = os.fsdecode(_content(table))
    return (line.split(":") for line in text.split("\n") if line and "\0" not in line)


def _content(table: str) -> bytes:
    try:
        # Not to wait for whoever might write to a pipe.
        fd = os.open(table, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(fd, "rb") as file:
        is_table = stat.S_ISREG(os.fstat(fd).st_mode)
        return file.read(_LARGEST_TABLE) if is_table else b""


def _number(text: str) -> int | None:
    # Only so long: int() of a million digits takes a minute, or raises.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def become(account: Account) -> None:
    """Change to the ids of an account, for good.

    Raises:
        Failure: this user namespace has no such id.
    """
    # Refused in a namespace of few ids: what remains are the caller's own groups, as nobody's.
    try:
        # Its own group among them: whoever takes another for it keeps what the first is denied
        # (CVE-2022-36109, CVE-2022-2989).
        os.setgroups(list(dict.fromkeys((account.gid, *account.groups))))
    except OSError as error:
        if account.needs_groups:
            raise Failure(
                f"--group-add: {error.strerror}: the container has no such ids"
                " (an ordinary user's has those that /etc/subuid and /etc/subgid give)"
            ) from error
    try:
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        raise Failure(
            f"user {account.uid}:{account.gid}: {error.strerror}: the container has no such id"
            " (an ordinary user's has those that /etc/subuid and /etc/subgid give)"
        ) from error
