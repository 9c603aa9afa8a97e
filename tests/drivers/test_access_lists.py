"""ACLs, as far as filesystems do not agree on them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.posix.acls import ACCESS, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, acl
from tests.posix.processes import ALICE, BOB, as_user

if TYPE_CHECKING:
    from pathlib import Path

_CAROL = 1002
_SOME = acl((USER_OBJ, 6), (USER, 4, BOB), (GROUP_OBJ, 6), (MASK, 6), (OTHER, 4))


@pytest.mark.parametrize(("groups", "mode"), [([], 0o664), ([_CAROL], 0o2664)])
def test_an_acl_removed_from_outside_the_group_takes_set_group_id_along(
    mount: Path, groups: list[int], mode: int
) -> None:
    """As under kernel overlayfs (ovl_set_acl), and on tmpfs; ext4 leaves the bit."""
    file = mount / "file"
    file.touch()
    os.chown(file, ALICE, _CAROL)
    os.setxattr(file, ACCESS, _SOME)
    file.chmod(0o2664)

    as_user(lambda: os.removexattr(file, ACCESS), ALICE, groups=groups)

    assert stat.S_IMODE(file.stat().st_mode) == mode
