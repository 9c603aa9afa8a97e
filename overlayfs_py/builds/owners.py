"""The owner that `--chown`, or USER for a WORKDIR, names: of the image's own tables.

Source: moby/buildkit, client/llb/fileop.go (WithUser) and solver/llbsolver/ops/user_linux.go. There
a name that no table has means root; here it is refused, as docker's first builder did.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.builds.failures import BadOption
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.containers.image_files import ImageFiles

_USERS = (b"etc", b"passwd")
_GROUPS = (b"etc", b"group")
_LARGEST_TABLE = 10 << 20  # as BuildKit has it
_LARGEST_ID = (1 << 31) - 1


class Owner(NamedTuple):
    """Ids of a user and a group."""

    uid: int
    gid: int


ROOT = Owner(0, 0)


def find_owner(text: str, base: ImageFiles | None, option: str) -> Owner:
    """Return what USER[:GROUP] names in an image; a user without a group has its own.

    A number is also the group's where no group is given.

    Raises:
        BadOption: a name is in no table; `option` is what messages call the text.
    """
    user, _, group = text.partition(":")
    uid = _number(user)
    by_name = uid is None or (group != "" and _number(group) is None)
    if by_name and base is None:
        raise BadOption(option, "names need layers below, and --link knows of none: use numbers")
    if uid is None:
        uid, gid = _find_user(user, base, option)
    else:
        gid = uid
    if group:
        number = _number(group)
        gid = _find_group(group, base, option) if number is None else number
    return Owner(_require_id(uid, option), _require_id(gid, option))


def _find_user(name: str, base: ImageFiles | None, option: str) -> tuple[int, int]:
    for fields in _rows(base, _USERS):
        if fields[0] == name and len(fields) >= 4:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                return uid, gid
    raise BadOption(option, f"no user {name!r} in the image's /etc/passwd")


def _find_group(name: str, base: ImageFiles | None, option: str) -> int:
    for fields in _rows(base, _GROUPS):
        if fields[0] == name and len(fields) >= 3:
            gid = _number(fields[2])
            if gid is not None:
                return gid
    raise BadOption(option, f"no group {name!r} in the image's /etc/group")


def _number(text: str) -> int | None:
    if text == "root":
        return 0
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _require_id(number: int, option: str) -> int:
    if number > _LARGEST_ID:
        raise BadOption(option, f"{number} is no id: at most {_LARGEST_ID}")
    return number


def _rows(base: ImageFiles | None, path: tuple[bytes, ...]) -> Iterator[list[str]]:
    if base is None:
        return
    try:
        found = base.find(path, follow=True)
    except OSError:  # not there, or a link without an end: no table
        return
    if not stat.S_ISREG(found.attributes.mode):
        return
    text = os.fsdecode(base.read(found, 0, _LARGEST_TABLE))
    for line in text.split("\n"):
        if line.strip():
            yield line.strip().split(":")
