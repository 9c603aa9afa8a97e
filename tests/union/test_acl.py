"""What a new object inherits, held against what the kernel's own filesystem makes of it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from overlayfs_py.union import acl
from overlayfs_py.union.acl import AclEntry

_PERMISSIONS = st.integers(0, 7)
_NO_ID = 0xFFFFFFFF
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32


def _named(tag: int) -> st.SearchStrategy[list[AclEntry]]:
    ids = st.dictionaries(st.integers(1, 70_000), _PERMISSIONS, max_size=3)
    return ids.map(lambda found: [AclEntry(tag, p, i) for i, p in sorted(found.items())])


@st.composite
def default_acls(draw: st.DrawFn) -> list[AclEntry]:
    """As acl(5) wants them: in order of tags, with a mask where somebody is named."""
    users, groups = draw(_named(_USER)), draw(_named(_GROUP))
    masked = users or groups or draw(st.booleans())
    return [
        AclEntry(_USER_OBJ, draw(_PERMISSIONS), _NO_ID),
        *users,
        AclEntry(_GROUP_OBJ, draw(_PERMISSIONS), _NO_ID),
        *groups,
        *([AclEntry(_MASK, draw(_PERMISSIONS), _NO_ID)] if masked else []),
        AclEntry(_OTHER, draw(_PERMISSIONS), _NO_ID),
    ]


@settings(max_examples=150, deadline=None)
@given(default_acls(), st.integers(0, 0o777))
def test_a_file_inherits_what_the_kernel_gives_it(entries: list[AclEntry], mode: int) -> None:
    default = acl.build(entries)
    with tempfile.TemporaryDirectory() as place:
        os.setxattr(place, acl.DEFAULT, default)
        path = Path(place) / "file"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
        expected = stat.S_IMODE(path.stat().st_mode)
        kept = [os.fsencode(name) for name in os.listxattr(path)]
        access = os.getxattr(path, acl.ACCESS) if acl.ACCESS in kept else None

    inherited = acl.inherit(default, stat.S_IFREG | mode)

    assert inherited.mode == stat.S_IFREG | expected
    assert inherited.access == access


@given(default_acls())
def test_what_is_built_is_parsed(entries: list[AclEntry]) -> None:
    assert acl.parse(acl.build(entries)) == entries


@given(default_acls())
def test_ids_are_mapped_where_there_are_any(entries: list[AclEntry]) -> None:
    mapped = acl.parse(acl.with_ids(acl.build(entries), lambda u: u + 1, lambda g: g + 2))

    for old, new in zip(entries, mapped, strict=True):
        step = {_USER: 1, _GROUP: 2}.get(old.tag, 0)
        assert new == old._replace(id=old.id + step)
